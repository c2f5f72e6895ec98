#include "runtime/train/agreed_algorithms.h"

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr const char* kWayOut =
    "; use like nodes, drivers and libraries, or set run.identity = \"report\" to go on with "
    "algorithms of this machine's choice, and other bits";

}  // namespace

Result<MergedAlgorithms> merge_algorithms(const std::vector<DistinctText>& texts) {
  MergedAlgorithms merged;
  for (const auto& [rank, text, node] : texts) {
    LEASEHOLD_ASSIGN_OR_RETURN(const AlgorithmChoices choices, AlgorithmChoices::parse(text));
    for (const auto& [library, products] : choices.by_library()) {
      const auto& before = merged.choices.by_library();
      if (rank == 0 || before.contains(library) || !merged.mixed.empty()) continue;
      merged.mixed =
          fmt::format("rank {} on node {} has {}, rank 0 on node {} has {}", rank, node, library,
                      texts.front().node, before.empty() ? "none" : before.begin()->first);
    }
    const std::vector<std::string> differing = merged.choices.add(choices);
    if (!differing.empty() && merged.differing.empty()) {
      merged.differing = fmt::format(
          "rank {} on node {} chose another algorithm than a lower rank for the product {}", rank,
          node, differing.front());
    }
  }
  return merged;
}

AgreedAlgorithms::AgreedAlgorithms(Kernels& kernels, Communicator& world, Stream& stream,
                                   std::string node, bool report, double timeout_s, Event event)
    : kernels_(kernels),
      world_(world),
      stream_(stream),
      node_(std::move(node)),
      report_(report),
      timeout_s_(timeout_s),
      event_(std::move(event)) {}

Result<bool> AgreedAlgorithms::settle() {
  const std::string mine = kernels_.algorithms();
  if (mine.empty()) return false;
  const Deadline deadline = after_group_timeout(timeout_s_);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<DistinctText> texts,
                             distinct_texts(world_, stream_, mine, node_, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const MergedAlgorithms merged, merge_algorithms(texts));
  if (!merged.mixed.empty() && !report_) {
    return error(Code::kBadConfig, "the ranks' matrix products are of different libraries: {}{}",
                 merged.mixed, kWayOut);
  }
  if (!merged.mixed.empty() && !told_mixed_) {
    event_("algorithms_differ", merged.mixed);
    told_mixed_ = true;
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const AlgorithmChoices own, AlgorithmChoices::parse(mine));
  const AlgorithmChoices wanted = merged.choices.of(own.by_library().begin()->first);
  Status taken;
  if (wanted != own) taken = kernels_.use_algorithms(wanted.to_text());
  taken = agree(world_, stream_, taken, deadline);
  text_ = merged.choices.to_text();
  num_settled_ = kernels_.num_choices();
  if (taken.code() == Code::kBadConfig) {
    const std::string what = fmt::format(
        "{}; {}",
        merged.differing.empty() ? "a rank cannot take over what others chose" : merged.differing,
        taken.message());
    if (!report_) return error(Code::kBadConfig, "{}{}", what, kWayOut);
    event_("algorithms_differ", what);
    return false;
  }
  LEASEHOLD_RETURN_IF_ERROR(taken);
  if (merged.differing.empty()) return false;
  event_("algorithms_agreed", merged.differing + ": all take that of the lowest rank");
  return true;
}

Result<bool> AgreedAlgorithms::use(const std::string& text) {
  const std::string mine = kernels_.algorithms();
  LEASEHOLD_ASSIGN_OR_RETURN(const AlgorithmChoices own, AlgorithmChoices::parse(mine));
  LEASEHOLD_ASSIGN_OR_RETURN(const AlgorithmChoices kept, AlgorithmChoices::parse(text));
  const auto& libraries = kept.by_library();
  if (libraries.empty()) return false;
  // Where it has none of this library, the kernels say what they are and what they were given.
  const std::string library =
      own.by_library().empty() ? std::string() : own.by_library().begin()->first;
  const bool has_own = libraries.contains(library);
  const AlgorithmChoices wanted = kept.of(has_own ? library : libraries.begin()->first);
  const Status used = kernels_.use_algorithms(wanted.to_text());
  if (!used.ok()) {
    if (used.code() != Code::kBadConfig) return used;
    return error(Code::kBadConfig, "the checkpoint's matrix products cannot be repeated here: {}{}",
                 used.message(), report_ ? "" : kWayOut);
  }
  return !wanted.contain(own);
}

}  // namespace leasehold
