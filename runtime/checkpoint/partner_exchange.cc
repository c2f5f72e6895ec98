#include "runtime/checkpoint/partner_exchange.h"

#include <algorithm>
#include <utility>

#include "runtime/checkpoint/snapshot_description.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr int64_t kSlotsPerOrigin = 2;

Tensor bytes(void* data, int64_t n) { return Tensor(data, DType::kU8, {n}); }
Tensor bytes(std::string& text) { return bytes(text.data(), std::ssize(text)); }

}  // namespace

Result<std::unique_ptr<PartnerExchange>> PartnerExchange::create(
    std::unique_ptr<Communicator> group, std::unique_ptr<Stream> stream,
    PartnerExchangeOptions options) {
  std::unique_ptr<PartnerExchange> made(
      new PartnerExchange(std::move(group), std::move(stream), std::move(options)));
  LEASEHOLD_RETURN_IF_ERROR(made->reserve());
  return made;
}

bool PartnerExchange::has_partner() const { return partner() >= 0; }

Status PartnerExchange::reserve() {
  const Deadline deadline = after_group_timeout(options_.timeout_s);
  const std::string mine = fmt::format("{} {}", options_.slot_bytes, options_.description_bytes);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> sizes,
                             all_gather_bytes(*group_, *stream_, mine, deadline));
  for (int origin = 0; origin < group_->size(); ++origin) {
    if (options_.partners[static_cast<size_t>(origin)] != group_->rank()) continue;
    const std::string& text = sizes[static_cast<size_t>(origin)];
    Kept kept{.rank = origin};
    const int64_t slot_bytes = std::stoll(text);
    kept.description.resize(static_cast<size_t>(std::stoll(text.substr(text.find(' ')))));
    for (int64_t index = 0; index < kSlotsPerOrigin; ++index) {
      const std::string name = slot_name(options_.prefix, {.generation = options_.generation,
                                                           .rank = origin,
                                                           .is_copy = true,
                                                           .index = index,
                                                           .node = options_.node});
      LEASEHOLD_ASSIGN_OR_RETURN(auto slot,
                                 SnapshotSlot::reserve(options_.directory, name, slot_bytes));
      kept.slots.push_back(std::move(slot));
      kept.steps.push_back(-1);
    }
    kept_.push_back(std::move(kept));
  }
  return ok_status();
}

Status PartnerExchange::wait_all(std::vector<Work>& works) {
  Status first;
  for (const Work& work : works) {
    const Status status = wait_or_give_up(*group_, work, after_group_timeout(options_.timeout_s));
    if (first.ok()) first = status;
  }
  return first;
}

Status PartnerExchange::transfer(const SnapshotSlot& own, std::string& description,
                                 int64_t committed_step) {
  std::vector<Work> works;
  for (Kept& kept : kept_) {
    kept.target = kept.steps[0] == committed_step ? 1 : 0;
    SnapshotSlot& slot = *kept.slots[kept.target];
    kept.steps[kept.target] = -1;
    const Status invalidated = slot.invalidate();
    kept.answer = invalidated.ok() ? 1 : 0;
    works.push_back(group_->receive(bytes(kept.description), kept.rank, *stream_));
    works.push_back(group_->receive(bytes(slot.data(), slot.size_bytes()), kept.rank, *stream_));
  }
  if (has_partner()) {
    description.resize(static_cast<size_t>(options_.description_bytes), ' ');
    works.push_back(group_->send(bytes(description), partner(), *stream_));
    works.push_back(group_->send(bytes(own.data(), own.size_bytes()), partner(), *stream_));
  }
  return wait_all(works);
}

Status PartnerExchange::answer_all(uint8_t& answer) {
  std::vector<Work> works;
  for (Kept& kept : kept_)
    works.push_back(group_->send(bytes(&kept.answer, 1), kept.rank, *stream_));
  if (has_partner()) works.push_back(group_->receive(bytes(&answer, 1), partner(), *stream_));
  return wait_all(works);
}

Status PartnerExchange::exchange(const SnapshotSlot& own, const std::string& description,
                                 int64_t step, int64_t committed_step) {
  LEASEHOLD_CHECK(std::ssize(description) <= options_.description_bytes,
                  "a description of {} bytes", description.size());
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
