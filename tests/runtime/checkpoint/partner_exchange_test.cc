// Copies on their way to partners, over links that are slow and peers that are late.
#include "runtime/checkpoint/partner_exchange.h"

#include <chrono>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <thread>

#include "collectives/threads.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/partners.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

const std::string kPrefix = lineage_prefix("abc");

// A link that carries so many bytes a second. A message that takes longer than the timeout aborts
// the group, as with collectives/mpi.
class SlowLink : public Communicator {
 public:
  SlowLink(std::unique_ptr<Communicator> inner, double bytes_per_s, double timeout_s)
      : inner_(std::move(inner)), bytes_per_s_(bytes_per_s), timeout_s_(timeout_s) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }
  Status health() const override { return inner_->health(); }
  void abort(const Status& reason) override { inner_->abort(reason); }
  double busy_s() override { return inner_->busy_s(); }
  Result<std::unique_ptr<Communicator>> split(int, int, const std::string&) override {
    return error(Code::kInternal, "not here");
  }

 protected:
  Work do_send(Tensor data, int peer, Stream& stream) override {
    const double seconds = static_cast<double>(data.size_bytes()) / bytes_per_s_;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(seconds, timeout_s_)));
    if (seconds > timeout_s_) inner_->abort(error(Code::kUnavailable, "a message took too long"));
    return inner_->send(data, peer, stream);
  }
  Work do_receive(Tensor data, int peer, Stream& stream) override {
    return inner_->receive(data, peer, stream);
  }
  Work do_all_reduce(Tensor, ReduceOp, Stream&) override { return {}; }
  Work do_all_gather(Tensor, Tensor, Stream&) override { return {}; }
  Work do_reduce_scatter(Tensor, Tensor, ReduceOp, Stream&) override { return {}; }
  Work do_all_to_all(std::span<const Tensor>, std::span<const Tensor>, Stream&) override {
    return {};
  }
  Work do_broadcast(Tensor, int, Stream&) override { return {}; }

 private:
  std::unique_ptr<Communicator> inner_;
  double bytes_per_s_;
  double timeout_s_;
};

struct Exchanged {
  std::vector<FailureDomain> ranks;
  std::vector<int64_t> slot_bytes;  // by rank
  int64_t chunk_bytes = 1000;
  double bytes_per_s = 1e9;
  double timeout_s = 30;
  int snapshots = 1;
};

std::string content(int rank, int64_t size_bytes, int64_t step) {
  std::string bytes(static_cast<size_t>(size_bytes), '\0');
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] =
        static_cast<char>(7 * i + 31 * static_cast<size_t>(rank) + static_cast<size_t>(step));
  return bytes;
}

// The status of each rank's newest exchange; what was kept is compared where all went well.
std::vector<Status> exchange(const Exchanged& of) {
  const TemporaryDirectory directory;
  const auto size = static_cast<int>(of.ranks.size());
  const std::vector<int> partners = choose_partners(of.ranks);
  std::vector<Status> statuses(of.ranks.size());
  run_ranks(size, {.timeout_s = 30}, [&](Communicator& world) {
    const auto me = static_cast<size_t>(world.rank());
    const auto device = CpuDevice::create({});
    std::vector<SnapshotSize> sizes;
    for (const int64_t bytes : of.slot_bytes)
      sizes.push_back({.slot_bytes = bytes, .description_bytes = 200});
    PartnerExchange partner_exchange(
        std::make_unique<SlowLink>(world.split(0, world.rank(), "snapshots").value(),
                                   of.bytes_per_s, of.timeout_s),
        device->create_stream("snapshots").value(),
        {.directory = {directory.path()},
         .prefix = kPrefix,
         .node = of.ranks[me].node,
         .generation = 1,
         .partners = partners,
         .sizes = sizes,
         .timeout_s = 30,
         .chunk_bytes = of.chunk_bytes});
    throw_if_error(partner_exchange.reserve(2));
    const std::string name =
        slot_name(kPrefix, {.generation = 1, .rank = world.rank(), .node = of.ranks[me].node});
    const auto own = SnapshotSlot::reserve({directory.path()}, name, of.slot_bytes[me]).value();
    for (int step = 1; step <= of.snapshots; ++step) {
      const std::string bytes = content(world.rank(), of.slot_bytes[me], step);
      std::memcpy(own->data(), bytes.data(), bytes.size());
      statuses[me] =
          partner_exchange.exchange(*own, fmt::format("{} of {}\n", step, me), step, step - 1);
    }
  });
  for (const Status& status : statuses) {
    if (!status.ok()) return statuses;
  }
  // Each copy is whole, and so is the one before it.
  const auto slots = list_slots(directory.path(), kPrefix);
  for (size_t rank = 0; rank < of.ranks.size(); ++rank) {
    if (partners[rank] < 0) continue;
    int found = 0;
    for (const std::string& slot : *slots) {
      const auto parsed = parse_slot_name(kPrefix, slot);
      if (!parsed->is_copy || parsed->rank != static_cast<int64_t>(rank)) continue;
      ++found;
      EXPECT_EQ(parsed->node, of.ranks[static_cast<size_t>(partners[rank])].node);
      const std::string words = read_slot(directory.path(), slot).value();
      const int64_t step = std::stoll(words);
      EXPECT_EQ(words, fmt::format("{} of {}\n", step, rank));
      EXPECT_EQ(read_file(posix_files(), directory / (slot + ".safetensors")).value(),
                content(static_cast<int>(rank), of.slot_bytes[rank], step));
    }
    EXPECT_EQ(found, std::min(of.snapshots, 2)) << rank;
  }
  return statuses;
}

std::vector<FailureDomain> on_nodes(const std::vector<std::string>& names) {
  std::vector<FailureDomain> ranks;
  for (const std::string& name : names) ranks.push_back({.node = name});
  return ranks;
}

TEST(PartnerExchange, SnapshotsOfAnySizeArriveWhole) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int trial = 0; trial < 8; ++trial) {
    Exchanged of{.ranks = on_nodes({"a", "b"}), .slot_bytes = {}, .snapshots = 3};
    while (of.ranks.size() < 2 + random() % 4)
      of.ranks.push_back({.node = std::string(1, static_cast<char>('a' + random() % 3))});
    of.chunk_bytes = static_cast<int64_t>(300 + random() % 3000);
    for (size_t i = 0; i < of.ranks.size(); ++i)
      of.slot_bytes.push_back(static_cast<int64_t>(1 + random() % 9000));
    for (const Status& status : exchange(of)) EXPECT_TRUE(status.ok()) << status.message();
  }
}

// In one message it would take six times the timeout.
TEST(PartnerExchange, ASlowLinkFailsNothing) {
  Exchanged of{.ranks = on_nodes({"a", "b", "c"}),
               .slot_bytes = {30000, 20000, 30000},
               .chunk_bytes = 1000,
               .bytes_per_s = 100000,
               .timeout_s = 0.05};
  for (const Status& status : exchange(of)) EXPECT_TRUE(status.ok()) << status.message();
  of.chunk_bytes = 30000;
  for (const Status& status : exchange(of)) EXPECT_EQ(status.code(), Code::kUnavailable);
}

}  // namespace
}  // namespace leasehold
