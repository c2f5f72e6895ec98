#include "runtime/train/agreed_kernel_set.h"

#include <algorithm>
#include <fmt/ranges.h>
#include <sstream>

#include "runtime/base/rank_list.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

bool has_set(const std::vector<std::string>& sets, const std::string& set) {
  return std::ranges::find(sets, set) != sets.end();
}

// Says why a rank cannot use a set.
std::string obstacle(const KernelSetOffer& offer, size_t rank, const std::string& set) {
  const std::string who = fmt::format("rank {} on node {}", rank, offer.node);
  if (has_set(offer.lacking, set)) return who + " has a build of OpenBLAS without it";
  if (offer.pinned && !offer.sets.empty())
    return fmt::format("{} is bound to {} by OPENBLAS_CORETYPE", who, offer.sets.front());
  return fmt::format("the processor of {} ({}) does not run it", who, offer.processor);
}

// Returns the ranks of which something is true, ascending.
template <typename Predicate>
std::vector<int> ranks_where(std::span<const KernelSetOffer> offers, const Predicate& is_true) {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < offers.size(); ++rank) {
    if (is_true(offers[rank])) ranks.push_back(static_cast<int>(rank));
  }
  return ranks;
}

std::vector<int> ranks_without(std::span<const KernelSetOffer> offers, const std::string& set) {
  return ranks_where(offers, [&](const auto& offer) { return !has_set(offer.sets, set); });
}

// Returns a refusal that begins with the ranks whose fault it is, as agree() does: what all ranks
// have is nobody's.
Status refused_for(const std::vector<int>& ranks, size_t num_ranks, const std::string& why) {
  return {Code::kBadConfig, (ranks.size() == num_ranks ? "" : rank_prefix(ranks)) + why};
}

// Finds the first rank that cannot use a set; none: all can.
std::optional<size_t> first_without(std::span<const KernelSetOffer> offers,
                                    const std::string& set) {
  const std::vector<int> without = ranks_without(offers, set);
  if (without.empty()) return std::nullopt;
  return static_cast<size_t>(without.front());
}

// A rank that differs from most of the others is odd, also if that is rank 0.
Status check_asked(std::span<const KernelSetOffer> offers) {
  const auto num_alike = [&](const KernelSetOffer& one) {
    return std::ranges::count(offers, one.asked, &KernelSetOffer::asked);
  };
  const KernelSetOffer& most = *std::ranges::max_element(offers, {}, num_alike);
  const std::vector<int> odd =
      ranks_where(offers, [&](const auto& offer) { return offer.asked != most.asked; });
  if (odd.empty()) return ok_status();
  const KernelSetOffer& first = offers[static_cast<size_t>(odd.front())];
  return refused_for(
      odd, offers.size(),
      fmt::format("device.cpu_kernels is \"{}\" for rank {} on node {} and \"{}\" for rank {} on "
                  "node {}: give all ranks the same job file",
                  first.asked, odd.front(), first.node, most.asked, &most - offers.data(),
                  most.node));
}

const RecordedKernelSet& newest_record(std::span<const KernelSetOffer> offers) {
  const RecordedKernelSet* newest = &offers[0].recorded;
  for (const KernelSetOffer& offer : offers) {
    if (offer.recorded.step > newest->step) newest = &offer.recorded;
  }
  return *newest;
}

Result<ChosenKernelSet> choose_asked(std::span<const KernelSetOffer> offers) {
  const std::string& asked = offers[0].asked;
  const std::optional<size_t> without = first_without(offers, asked);
  if (!without) return ChosenKernelSet{asked, "device.cpu_kernels names it"};
  const KernelSetOffer& offer = offers[*without];
  if (offer.sets.empty() && offer.lacking.empty()) {
    return refused_for(
        ranks_without(offers, asked), offers.size(),
        fmt::format(
            "device.cpu_kernels = \"{}\": on the processor of rank {} on node {} the library "
            "chooses its kernels itself; write \"auto\"",
            asked, *without, offer.node));
  }
  return refused_for(
      ranks_without(offers, asked), offers.size(),
      fmt::format("device.cpu_kernels = \"{}\": {}; write {}, or use nodes that run it", asked,
                  obstacle(offer, *without, asked),
                  offer.pinned
                      ? fmt::format("\"{}\" or unset OPENBLAS_CORETYPE", offer.sets.front())
                      : std::string("\"auto\"")));
}

// Returns the ranks that lack the set that most ranks have, where more than half of them have it:
// without these ranks there is a set for all.
std::vector<int> ranks_beside_most(std::span<const KernelSetOffer> offers) {
  std::vector<int> fewest;
  for (const KernelSetOffer& offer : offers) {
    for (const std::string& set : offer.sets) {
      std::vector<int> without = ranks_without(offers, set);
      if (fewest.empty() || without.size() < fewest.size()) fewest = std::move(without);
    }
  }
  return 2 * fewest.size() < offers.size() ? fewest : std::vector<int>();
}

Result<ChosenKernelSet> choose_best(std::span<const KernelSetOffer> offers, std::string reason) {
  const auto knows_none = [](const KernelSetOffer& offer) {
    return offer.sets.empty() && offer.lacking.empty();
  };
  if (std::ranges::all_of(offers, knows_none))
    return ChosenKernelSet{"", reason + "the library's own choice"};
  for (const std::string& set : offers[0].sets) {
    if (first_without(offers, set)) continue;
    if (std::ranges::any_of(offers, [](const auto& offer) { return offer.pinned; })) {
      reason += "OPENBLAS_CORETYPE names it";
    } else if (offers.size() == 1) {
      reason += "the best that this processor runs";
    } else {
      reason += "the best that the processor of every rank runs";
    }
    return ChosenKernelSet{set, reason};
  }
  std::string all;
  for (size_t rank = 0; rank < offers.size(); ++rank) {
    all += fmt::format("{}rank {} on node {}: {}", rank == 0 ? "" : "; ", rank, offers[rank].node,
                       offers[rank].sets.empty()
                           ? std::string("none")
                           : fmt::format("{}", fmt::join(offers[rank].sets, " ")));
  }
  return refused_for(ranks_beside_most(offers), offers.size(),
                     fmt::format("no kernel set of OpenBLAS can be used by every rank ({}): use "
                                 "like nodes and libraries, and unset OPENBLAS_CORETYPE",
                                 all));
}

// Writes a field of a message between ranks, which may hold anything but a line's end.
std::string offer_line(const std::string& text) {
  std::string one = text;
  std::ranges::replace(one, '\n', ' ');
  return one + "\n";
}

std::string offer_text(const KernelSetOffer& offer) {
  return offer_line(offer.node) + offer_line(offer.processor) + offer_line(offer.asked) +
         offer_line(offer.pinned ? "pinned" : "free") +
         offer_line(fmt::format("{}", offer.recorded.step)) +
         offer_line(offer.recorded.kernel_set) + offer_line(offer.recorded.path) +
         offer_line(fmt::format("{}", fmt::join(offer.sets, " "))) +
         offer_line(fmt::format("{}", fmt::join(offer.lacking, " ")));
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> all;
  for (std::string word; stream >> word;) all.push_back(word);
  return all;
}

// Reads the message of a rank of the same program.
KernelSetOffer parse_offer(const std::string& text) {
  std::istringstream stream(text);
  const auto next = [&] {
    std::string text_line;
    std::getline(stream, text_line);
    return text_line;
  };
  KernelSetOffer offer;
  offer.node = next();
  offer.processor = next();
  offer.asked = next();
  offer.pinned = next() == "pinned";
  offer.recorded.step = std::stoll(next());
  offer.recorded.kernel_set = next();
  offer.recorded.path = next();
  offer.sets = words_of(next());
  offer.lacking = words_of(next());
  return offer;
}

}  // namespace

Result<ChosenKernelSet> choose_kernel_set(std::span<const KernelSetOffer> offers, bool may_change) {
  LEASEHOLD_RETURN_IF_ERROR(check_asked(offers));
  if (offers[0].asked != kAnyKernelSet) return choose_asked(offers);
  const RecordedKernelSet& recorded = newest_record(offers);
  if (recorded.kernel_set.empty()) return choose_best(offers, "");
  const std::optional<size_t> without = first_without(offers, recorded.kernel_set);
  if (!without) {
    return ChosenKernelSet{recorded.kernel_set,
                           fmt::format("the run was computed with it ({})", recorded.path)};
  }
  const KernelSetOffer& offer = offers[*without];
  // Its record names what a library chose by itself, and will choose again or be found out.
  if (offer.sets.empty() && offer.lacking.empty()) return choose_best(offers, "");
  const std::string reason = obstacle(offer, *without, recorded.kernel_set);
  if (may_change)
    return choose_best(offers, fmt::format("not {}, by which the run was computed: {}; ",
                                           recorded.kernel_set, reason));
  return refused_for(
      ranks_without(offers, recorded.kernel_set), offers.size(),
      fmt::format("the run was computed with OpenBLAS's kernel set {} ({}), and {}: use nodes that "
                  "run it, or go on with another set and other bits: run.identity = \"report\", or "
                  "--fork for a new lineage",
                  recorded.kernel_set, recorded.path, reason));
}

Result<ChosenKernelSet> agree_on_kernel_set(KernelSetOffer mine, bool may_change,
                                            const OpenKernelSet& open, Communicator& world,
                                            Stream& stream, double timeout_s) {
  // Every round takes a set away from some rank.
  while (true) {
    const Deadline deadline = after_group_timeout(timeout_s);
    LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                               all_gather_bytes(world, stream, offer_text(mine), deadline));
    std::vector<KernelSetOffer> offers;
    for (const std::string& text : texts) offers.push_back(parse_offer(text));
    LEASEHOLD_ASSIGN_OR_RETURN(ChosenKernelSet chosen, choose_kernel_set(offers, may_change));
    const Result<std::string> used = open(chosen.kernel_set);
    LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, used.status(), deadline));
    if (chosen.kernel_set.empty()) {
      chosen.kernel_set = *used;
      return chosen;
    }
    const bool lacks = *used != chosen.kernel_set;
    if (lacks) {
      std::erase(mine.sets, chosen.kernel_set);
      mine.lacking.push_back(chosen.kernel_set);
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> lacking,
                               all_gather_bytes(world, stream, lacks ? "1" : "0", deadline));
    if (!has_set(lacking, "1")) return chosen;
  }
}

Status check_kernel_set(const std::string& recorded, const std::string& kernel_set) {
  if (recorded.empty() || kernel_set.empty() || recorded == kernel_set) return ok_status();
  return error(Code::kBadConfig,
               "the run was computed with OpenBLAS's kernel set {}, and this start uses {}, which "
               "gives other bits: write device.cpu_kernels = \"{}\" or \"auto\", or go on with "
               "other bits: run.identity = \"report\", or --fork for a new lineage",
               recorded, kernel_set, recorded);
}

}  // namespace leasehold
