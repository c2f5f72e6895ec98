#include "runtime/checkpoint/partner_exchange.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kRoundsUnderWay = 4;

Tensor bytes(void* data, int64_t n) { return Tensor(data, DType::kU8, {n}); }
Tensor bytes(std::string& text) { return bytes(text.data(), std::ssize(text)); }

}  // namespace

// A chunk with every peer: from each rank whose copies are kept, and to the partner.
struct PartnerExchange::Round {
  std::vector<Work> works;
  Work credit;  // the partner is ready
  bool sends = false;
  uint8_t ready = 1;
  uint8_t partner_ready = 0;
  int64_t size_bytes = 0;
};

PartnerExchange::PartnerExchange(std::unique_ptr<Communicator> group,
                                 std::unique_ptr<Stream> stream, PartnerExchangeOptions options)
    : options_(std::move(options)), group_(std::move(group)), stream_(std::move(stream)) {
  for (int origin = 0; origin < group_->size(); ++origin) {
    if (options_.partners[static_cast<size_t>(origin)] != group_->rank()) continue;
    Kept& kept = kept_.emplace_back();
    kept.rank = origin;
    kept.description.resize(
        static_cast<size_t>(options_.sizes[static_cast<size_t>(origin)].description_bytes));
  }
}

bool PartnerExchange::has_partner() const { return partner() >= 0; }

Status PartnerExchange::reserve(int64_t count) {
  for (Kept& kept : kept_) {
    while (std::ssize(kept.slots) < count) {
      const std::string name = slot_name(options_.prefix, {.generation = options_.generation,
                                                           .rank = kept.rank,
                                                           .is_copy = true,
                                                           .index = draw_slot_index(),
                                                           .node = options_.node});
      LEASEHOLD_ASSIGN_OR_RETURN(
          auto slot,
          SnapshotSlot::reserve(options_.directory, name,
                                options_.sizes[static_cast<size_t>(kept.rank)].slot_bytes));
      kept.slots.push_back(std::move(slot));
      kept.steps.push_back(-1);
    }
  }
  return ok_status();
}

void PartnerExchange::release(int64_t count) {
  for (Kept& kept : kept_) {
    for (; std::ssize(kept.slots) > count; kept.slots.pop_back(), kept.steps.pop_back())
      kept.slots.back()->remove();
  }
}

Status PartnerExchange::wait(const Work& work) {
  return wait_or_give_up(*group_, work, after_group_timeout(options_.timeout_s));
}

int64_t PartnerExchange::chunks_of(int rank) const {
  const int64_t size_bytes = options_.sizes[static_cast<size_t>(rank)].slot_bytes;
  return 1 + (size_bytes + options_.chunk_bytes - 1) / options_.chunk_bytes;
}

Tensor PartnerExchange::chunk(const SnapshotSlot& slot, std::string& description, int rank,
                              int64_t index) const {
  if (index == 0) return bytes(description);
  const int64_t begin = (index - 1) * options_.chunk_bytes;
  const int64_t size_bytes = options_.sizes[static_cast<size_t>(rank)].slot_bytes;
  return bytes(slot.data() + begin, std::min(options_.chunk_bytes, size_bytes - begin));
}

// Two ranks may keep each other's: then a credit and a chunk travel each way, in this order.
void PartnerExchange::begin_round(int64_t index, Round& round) {
  round.sends = has_partner() && index < chunks_of(group_->rank());
  if (round.sends)
    round.credit = group_->receive(bytes(&round.partner_ready, 1), partner(), *stream_);
  for (Kept& kept : kept_) {
    if (index >= chunks_of(kept.rank)) continue;
    const Tensor part = chunk(*kept.slots[kept.target], kept.description, kept.rank, index);
    round.size_bytes += part.num_elements();
    round.works.push_back(group_->receive(part, kept.rank, *stream_));
    round.works.push_back(group_->send(bytes(&round.ready, 1), kept.rank, *stream_));
  }
}

Status PartnerExchange::send_round(int64_t index, const SnapshotSlot& own, std::string& description,
                                   Round& round) {
  if (!round.sends) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(wait(round.credit));
  const Tensor part = chunk(own, description, group_->rank(), index);
  round.size_bytes += part.num_elements();
  round.works.push_back(group_->send(part, partner(), *stream_));
  return ok_status();
}

Status PartnerExchange::end_round(Round& round) {
  Status first;
  for (const Work& work : round.works) {
    const Status status = wait(work);
    if (first.ok()) first = status;
  }
  if (first.ok()) moved_bytes_ += round.size_bytes;
  round = Round();
  return first;
}

// Whoever is in the earliest round of all can always move on, since its peers have come to that
// round; so nobody waits in a circle.
Status PartnerExchange::transfer(const SnapshotSlot& own, std::string& description,
                                 int64_t committed_step) {
  int64_t num_rounds = 0;
  for (Kept& kept : kept_) {
    const auto free = std::ranges::find_if(
        kept.steps, [&](int64_t step) { return step < 0 || step != committed_step; });
    LEASEHOLD_CHECK(free != kept.steps.end(), "no slot is free for a copy of rank {}", kept.rank);
    kept.target = static_cast<size_t>(free - kept.steps.begin());
    *free = -1;
    kept.answer = kept.slots[kept.target]->invalidate().ok() ? 1 : 0;
    num_rounds = std::max(num_rounds, chunks_of(kept.rank));
  }
  if (has_partner()) {
    const SnapshotSize& mine = options_.sizes[static_cast<size_t>(group_->rank())];
    description.resize(static_cast<size_t>(mine.description_bytes), ' ');
    num_rounds = std::max(num_rounds, chunks_of(group_->rank()));
  }
  Status status;
  std::array<Round, kRoundsUnderWay> rounds;
  for (int64_t index = 0; index < num_rounds && status.ok(); ++index) {
    Round& round = rounds[static_cast<size_t>(index % kRoundsUnderWay)];
    status = end_round(round);
    if (!status.ok()) break;
    begin_round(index, round);
    status = send_round(index, own, description, round);
  }
  // Ends what is left at once.
  if (!status.ok()) group_->abort(status);
  for (Round& round : rounds) {
    const Status ended = end_round(round);
    if (status.ok()) status = ended;
  }
  return status;
}

Status PartnerExchange::answer_all(uint8_t& answer) {
  Round answers;
  for (Kept& kept : kept_)
    answers.works.push_back(group_->send(bytes(&kept.answer, 1), kept.rank, *stream_));
  if (has_partner())
    answers.works.push_back(group_->receive(bytes(&answer, 1), partner(), *stream_));
  return end_round(answers);
}

Status PartnerExchange::exchange(const SnapshotSlot& own, const std::string& description,
                                 int64_t step, int64_t committed_step) {
  const SnapshotSize& mine = options_.sizes[static_cast<size_t>(group_->rank())];
  LEASEHOLD_CHECK(std::ssize(description) <= mine.description_bytes, "a description of {} bytes",
                  description.size());
  std::string padded = description;
  LEASEHOLD_RETURN_IF_ERROR(transfer(own, padded, committed_step));
  for (Kept& kept : kept_) {
    SnapshotSlot& slot = *kept.slots[kept.target];
    const auto last = kept.description.find_last_not_of(' ');
    const bool arrived = kept.answer != 0 && last != std::string::npos;
    kept.answer = arrived && slot.publish(kept.description.substr(0, last + 1)).ok() ? 1 : 0;
    if (kept.answer != 0) kept.steps[kept.target] = step;
  }
  uint8_t answer = 0;
  LEASEHOLD_RETURN_IF_ERROR(answer_all(answer));
  if (!has_partner() || answer != 0) return ok_status();
  return error(Code::kStorage, "rank {} could not keep a copy of the snapshot of step {}",
               partner(), step);
}

}  // namespace leasehold
