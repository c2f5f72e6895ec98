#include "runtime/train/arithmetic_class.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "runtime/base/rank_list.h"
#include "runtime/comm/distinct_texts.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/train/arithmetic_prober.h"

namespace leasehold {

Result<std::vector<OperationDigest>> digest_arithmetic(Device& device, Kernels& kernels,
                                                       const ArithmeticProbe& probe,
                                                       double timeout_s) {
  try {
    LEASEHOLD_ASSIGN_OR_RETURN(auto stream, device.create_stream("probe"));
    Arena measured = Arena::measuring("arithmetic probe");
    Arena measured_host = Arena::measuring("arithmetic probe, host");
    Prober counting(kernels, *stream, measured, measured_host, 0, timeout_s);
    probe_operations(counting, probe);
    const int64_t largest_bytes = counting.largest_bytes();
    measured_host.allocate(DType::kU8, Shape{largest_bytes});
    LEASEHOLD_ASSIGN_OR_RETURN(Arena arena,
                               Arena::create(device, measured.name(), measured.peak_bytes()));
    LEASEHOLD_ASSIGN_OR_RETURN(
        Arena host, Arena::create(device, measured_host.name(), measured_host.peak_bytes(),
                                  MemoryKind::kPinned));
    Prober prober(kernels, *stream, arena, host, largest_bytes, timeout_s);
    probe_operations(prober, probe);
    return prober.take();
  } catch (const StatusError& caught) {
    return caught.status();
  }
}

std::string to_text(const std::vector<OperationDigest>& digests) {
  std::string text;
  for (const OperationDigest& digest : digests) {
    text += fmt::format("{}{}={:016x}", text.empty() ? "" : " ", digest.operation, digest.digest);
  }
  return text;
}

namespace {

// The first operation of `theirs` that differs, or none.
std::string first_difference(const std::string& mine, const std::string& theirs) {
  std::istringstream my_words(mine), their_words(theirs);
  std::string my_word, their_word;
  while (my_words >> my_word) {
    if (!(their_words >> their_word) || my_word != their_word)
      return my_word.substr(0, my_word.find('='));
  }
  return their_words >> their_word ? their_word.substr(0, their_word.find('=')) : "";
}

// Names the parts of two machines that make an operation differ between them.
std::string_view differing_parts(std::string_view operation) {
  const bool is_of_libm =
      operation == "initial_values" || operation == "schedule" || operation.starts_with("rotary");
  return is_of_libm ? "C libraries (cos, sin, log, pow)" : "processors or BLAS libraries";
}

// Returns the ranks, of those that differ from rank 0 and those that do not, that are fewer.
std::vector<int> minority(const std::vector<int>& different, int size) {
  if (2 * std::ssize(different) <= size) return different;
  std::vector<int> others;
  for (int rank = 0; rank < size; ++rank) {
    if (!std::ranges::binary_search(different, rank)) others.push_back(rank);
  }
  return others;
}

}  // namespace

Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& node,
                          Communicator& world, Stream& stream, double timeout_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(
      const std::vector<DistinctText> texts,
      distinct_texts(world, stream, to_text(mine), node, after_group_timeout(timeout_s)));
  if (texts.size() == 1) return ok_status();
  const std::string operation = first_difference(texts[0].text, texts[1].text);
  const Status different = error(
      Code::kBadConfig,
      "rank {} on node {} computes other bits than rank 0 on node {} in {}: their {} differ; use "
      "like nodes, or set run.identity = \"report\" to go on with training that depends on the "
      "layout",
      texts[1].rank, texts[1].node, texts[0].node, operation, differing_parts(operation));
  const bool is_alike = to_text(mine) == texts[0].text;
  const Status agreed =
      agree(world, stream, is_alike ? ok_status() : different, after_group_timeout(timeout_s));
  if (agreed.code() != Code::kBadConfig) return agreed;
  const std::vector<int> odd = minority(ranks_named(agreed.message()), world.size());
  return {Code::kBadConfig, rank_prefix(odd) + different.message()};
}

Status compare_arithmetic(const std::vector<OperationDigest>& mine, const std::string& kept) {
  std::map<std::string, std::string> my_words;  // by operation
  for (const OperationDigest& digest : mine) my_words[digest.operation] = to_text({digest});
  std::istringstream kept_words(kept);
  bool compared = false;
  for (std::string word; kept_words >> word; compared = true) {
    const std::string operation = word.substr(0, word.find('='));
    const auto found = my_words.find(operation);
    if (found == my_words.end()) {
      return error(Code::kBadConfig,
                   "the checkpoint was written by a version of this program that also compares {}: "
                   "resume with that one, or set run.identity = \"report\"",
                   operation);
    }
    if (found->second == word) continue;
    return error(Code::kBadConfig,
                 "this machine computes other bits than the one that wrote the checkpoint in {}: "
                 "their {} differ; resume on a like machine and build, or set run.identity = "
                 "\"report\"",
                 operation, differing_parts(operation));
  }
  if (compared && my_words.contains(kOrderOfSums) &&
      kept.find(std::string(kOrderOfSums) + "=") == std::string::npos) {
    return error(Code::kBadConfig,
                 "the checkpoint was written by an earlier version of this program, whose kernels "
                 "add in another order: resume with that one, or set run.identity = \"report\"");
  }
  if (compared) return ok_status();
  return error(Code::kBadConfig,
               "the checkpoint does not say which bits the machine computes that wrote it: set "
               "run.identity = \"report\" to go on");
}

}  // namespace leasehold
