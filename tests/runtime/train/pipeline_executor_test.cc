// The executor and its messages take as long as the schedule's formula says. Time is injected:
// every message carries the moment at which its sender was done, and every stage keeps a clock that
// its computations move on, so that the machine's own speed does not matter.
#include "runtime/train/pipeline_executor.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <mutex>

#include "collectives/threads.h"
#include "runtime/comm/mesh.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {
namespace {

constexpr double kForwardS = 1, kBackwardS = 2;

class TimedWork : public StageWork {
 public:
  void forward(const PipelineAction& action, int64_t, Tensor input, Tensor output) override {
    compute(input, output, kForwardS, action.microbatch);
  }
  void backward(const PipelineAction& action, int64_t, Tensor output_gradient,
                Tensor input_gradient) override {
    compute(output_gradient, input_gradient, kBackwardS, action.microbatch);
  }
  double now_s() const { return now_s_; }

 private:
  // A message is (moment, number of the microbatch).
  void compute(Tensor in, Tensor out, double duration_s, int64_t microbatch) {
    if (in.present()) {
      now_s_ = std::max(now_s_, in.as<double>()[0]);
      EXPECT_EQ(in.as<double>()[1], static_cast<double>(microbatch)) << "another's message";
    }
    now_s_ += duration_s;
    if (!out.present()) return;
    out.as<double>()[0] = now_s_;
    out.as<double>()[1] = static_cast<double>(microbatch);
  }

  double now_s_ = 0;
};

// When the last stage to end a step ends it.
double measure_s(PipelineSchedule schedule, const PipelineShape& shape) {
  double end_s = 0;
  std::mutex mutex;
  run_ranks(shape.num_stages, {}, [&](Communicator& world) {
    const auto device = CpuDevice::create({});
    const Streams streams = Streams::create(*device).value();
    Mesh mesh = Mesh::create(world, {.pipeline = shape.num_stages}).value();
    const auto actions = make_schedule(schedule, shape, world.rank());
    const auto places = largest_in_flight(actions, shape.num_chunks);
    const Shape message{2};
    const auto make = [&](Arenas& arenas) {
      return std::make_unique<PipelineExecutor>(mesh.group(Axis::kPipeline), mesh.pipeline_back(),
                                                shape.num_chunks, places, message, DType::kF64,
                                                streams, arenas);
    };
    Arenas measured = Arenas::measuring(DeviceKind::kCpu);
    make(measured);
    Arenas arenas = Arenas::create(*device, measured).value();
    const auto executor = make(arenas);
    // Two steps, since the second finds what the first left.
    for (int step = 0; step < 2; ++step) {
      TimedWork work;
      executor->run(actions, work);
      for (Stream* stream : {streams.compute.get(), streams.transfer.get()})
        throw_if_error(stream->synchronize(Deadline::after_s(60)));
      const std::lock_guard lock(mutex);
      if (step == 1) end_s = std::max(end_s, work.now_s());
    }
  });
  return end_s;
}

TEST(PipelineExecutorTest, BubblesAreWhatTheFormulaSays) {
  for (const PipelineShape& shape :
       {PipelineShape{2, 1, 8}, PipelineShape{4, 1, 8}, PipelineShape{8, 1, 16},
        PipelineShape{2, 2, 8}, PipelineShape{4, 2, 8}, PipelineShape{4, 3, 12}}) {
    const double compute_s =
        static_cast<double>(shape.num_microbatches * shape.num_chunks) * (kForwardS + kBackwardS);
    const double bubble =
        measure_s(PipelineSchedule::kOneForwardOneBackward, shape) / compute_s - 1;
    EXPECT_NEAR(bubble / ideal_bubble(shape), 1, 0.05)
        << shape.num_stages << " stages, " << shape.num_chunks << " chunks";
  }
}

TEST(PipelineExecutorTest, AnyNumberOfMicrobatchesPassesAnyPipeline) {
  for (const int stages : {1, 2, 3, 5}) {
    for (const int chunks : {1, 2}) {
      for (const int64_t microbatches : {1, 2, 5, 7}) {
        if (stages == 1 && chunks > 1) continue;
        const PipelineShape shape{stages, chunks, microbatches};
        EXPECT_GT(measure_s(PipelineSchedule::kOneForwardOneBackward, shape), 0);
        EXPECT_GT(measure_s(PipelineSchedule::kGpipe, shape), 0);
      }
    }
  }
}

}  // namespace
}  // namespace leasehold
