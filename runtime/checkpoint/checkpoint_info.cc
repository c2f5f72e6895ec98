#include "runtime/checkpoint/checkpoint_info.h"

#include <fmt/format.h>
#include <random>
#include <set>

namespace leasehold {

std::string new_lineage() {
  std::random_device source;
  std::string name;
  for (int word = 0; word < 4; ++word)
    name += fmt::format("{:08x}", static_cast<uint32_t>(source()));
  return name;
}

void start_fork(CheckpointInfo& info, const CheckpointInfo& from) {
  info.lineage = new_lineage();
  info.parent_lineage = from.lineage;
  info.fork_step = from.step;
}

bool inherit_model_files(CheckpointInfo& info, const CheckpointInfo& from, bool same_tokenizer) {
  const bool same = same_tokenizer || info.tokenizer_json.empty();
  if (info.tokenizer_json.empty()) info.tokenizer_json = from.tokenizer_json;
  info.model_files = same ? from.model_files : std::map<std::string, std::string>();
  return !same && !from.model_files.empty();
}

Status check_identity(const CheckpointInfo& checkpoint,
                      const std::map<std::string, std::string>& job) {
  const auto value_in = [](const std::map<std::string, std::string>& identity,
                           const std::string& key) {
    const auto found = identity.find(key);
    return found == identity.end() ? std::string("not set") : "'" + found->second + "'";
  };
  std::set<std::string> keys;
  for (const auto& [key, value] : checkpoint.identity) keys.insert(key);
  for (const auto& [key, value] : job) keys.insert(key);
  std::string differences;
  for (const std::string& key : keys) {
    const std::string before = value_in(checkpoint.identity, key);
    const std::string now = value_in(job, key);
    if (before != now)
      differences += fmt::format("\n  {}: {} in the checkpoint, {} in the job", key, before, now);
  }
  if (differences.empty()) return ok_status();
  return error(Code::kBadConfig,
               "the job differs from the run that wrote the checkpoint of step {} in what decides "
               "its results:{}\n"
               "Restore these settings to go on, choose another run.dir, or start a new lineage "
               "from here with --fork",
               checkpoint.step, differences);
}

}  // namespace leasehold
