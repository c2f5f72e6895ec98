// Tests that the counting communicator counts what its header defines.
#include "tests/support/counting_communicator.h"

#include <array>
#include <gtest/gtest.h>

#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

TEST(CountingCommunicatorTest, CountsWhatARankSendsByGroupAndOperation) {
  run_ranks(4, {}, [](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("test").value();
    CommunicationCounts counts;
    const auto counting = create_counting_communicator(world, counts);
    std::array<float, 16> data{}, more{};
    const auto tensor = [](std::array<float, 16>& array, int64_t count) {
      return Tensor(array.data(), DType::kF32, {count});
    };
    counting->all_reduce(tensor(data, 8), ReduceOp::kSum, *stream).then(*stream);
    counting->all_gather(tensor(data, 4), tensor(more, 16), *stream).then(*stream);
    counting->reduce_scatter(tensor(more, 16), tensor(data, 4), ReduceOp::kSum, *stream)
        .then(*stream);
    counting->broadcast(tensor(data, 3), 1, *stream).then(*stream);
    // Sends each rank as many elements as its number.
    std::array<Tensor, 4> sends, receives;
    for (int64_t peer = 0; peer < 4; ++peer) {
      sends[static_cast<size_t>(peer)] = tensor(data, 16).flat(4 * peer, peer);
      receives[static_cast<size_t>(peer)] = tensor(more, 16).flat(4 * peer, world.rank());
    }
    counting->all_to_all(sends, receives, *stream).then(*stream);

    const auto of = [&](CountedOperation operation) {
      const auto count = counts.of("world", operation);
      EXPECT_EQ(count.calls, 1);
      return count.bytes_sent;
    };
    EXPECT_EQ(of(CountedOperation::kAllReduce), 2 * 3 * 8);
    EXPECT_EQ(of(CountedOperation::kAllGather), 3 * 4 * 4);
    EXPECT_EQ(of(CountedOperation::kReduceScatter), 3 * 4 * 4);
    EXPECT_EQ(of(CountedOperation::kBroadcast), world.rank() == 1 ? 3 * 3 * 4 : 0);
    EXPECT_EQ(of(CountedOperation::kAllToAll), (0 + 1 + 2 + 3 - world.rank()) * 4);
    EXPECT_EQ(counts.of("world").calls, 5);

    const auto pair = counting->split(world.rank() / 2, world.rank(), "pair").value();
    if (pair->rank() == 0) {
      pair->send(tensor(data, 5), 1, *stream).then(*stream);
    } else {
      pair->receive(tensor(data, 5), 0, *stream).then(*stream);
    }
    throw_if_error(stream->synchronize(Deadline::after_s(30)));
    EXPECT_EQ(counts.of("pair").calls, 1);
    EXPECT_EQ(counts.of("pair").bytes_sent, pair->rank() == 0 ? 5 * 4 : 0);
    counts.reset();
    EXPECT_EQ(counts.of("world").calls, 0);
  });
}

}  // namespace
}  // namespace leasehold
