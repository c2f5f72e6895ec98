#include "runtime/checkpoint/newest_record.h"

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/run_key.h"
#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/checkpoint/snapshot_slot.h"

namespace leasehold {

namespace {

void take_newer(std::optional<NewestRecord>& newest, NewestRecord found) {
  if (!newest || found.info.step > newest->info.step) newest = std::move(found);
}

// Looks at the slots of one node, which their names tell.
void look_in_memory(FileSystem& files, const std::string& run_dir, const std::string& directory,
                    const std::string& node, std::optional<NewestRecord>& newest) {
  const auto lineage = read_lineage(files, run_dir);
  const auto key = read_run_key(run_dir);
  if (!lineage.ok() || lineage->empty() || !key.ok()) return;
  const std::string prefix = lineage_prefix(*lineage);
  const auto slots = list_slots(directory, prefix);
  if (!slots.ok()) return;
  for (const std::string& slot : *slots) {
    const auto name = parse_slot_name(prefix, slot);
    if (!name || name->node != node) continue;
    const std::string path = join_path(directory, slot + ".json");
    auto sealed = read_slot(directory, slot);
    if (!sealed.ok()) continue;
    const auto text = unseal_snapshot(*std::move(sealed), *key, path);
    if (!text.ok()) continue;
    auto description = parse_snapshot(*text, path);
    if (!description.ok() || description->info.lineage != *lineage) continue;
    take_newer(newest, {path, std::move(description->info)});
  }
}

}  // namespace

std::optional<NewestRecord> find_newest_record(FileSystem& files, const std::string& run_dir,
                                               const std::string& memory_directory,
                                               const std::string& node) {
  std::optional<NewestRecord> newest;
  std::vector<CheckpointRejected> rejected;
  const auto checkpoints = list_checkpoints(files, run_dir, rejected);
  if (checkpoints.ok() && !checkpoints->empty())
    newest = {checkpoints->front().path, checkpoints->front().info};
  if (!memory_directory.empty()) look_in_memory(files, run_dir, memory_directory, node, newest);
  return newest;
}

}  // namespace leasehold
