// Communication behind computation, of a whole engine: a model whose units do nothing but take
// their time, over ranks whose operations take theirs, so that what can be hidden is known.
// Injected times are only ever exceeded; where they must not be by much, a busy machine gets
// another try.
#include <chrono>
#include <functional>
#include <gtest/gtest.h>
#include <thread>

#include "collectives/self.h"
#include "collectives/threads.h"
#include "runtime/device/cpu_stream.h"
#include "runtime/tensor/kernels_cpu.h"
#include "runtime/train/engine.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr int64_t kUnits = 4;
constexpr int64_t kWidth = 2 * Kernels::kChunk;  // elements of a unit's parameter: a chunk a rank

void take_time(Stream& stream, double seconds) {
  if (seconds == 0) return;
  CpuStream::from(stream).enqueue(
      [seconds] { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); });
}

class SlowUnit : public Module {
 public:
  SlowUnit(const std::string& name, Parameter& parameter, double seconds)
      : Module(name), parameter_(parameter), seconds_(seconds) {
    add_use(parameter);
    mark_as_unit();
  }
  std::unique_ptr<Saved> prepare(const PrepareContext&) const override {
    return std::make_unique<Saved>();
  }

 protected:
  void do_forward(StepContext& context, Tensor, Tensor, Saved&) override {
    take_time(context.stream, seconds_);
  }
  void do_backward(StepContext& context, Tensor, Tensor, Saved&) override {
    take_time(context.stream, seconds_);
    const Tensor gradient = parameter_.gradient(0);
    context.stream.fill_zero(gradient.data(), gradient.size_bytes());
  }

 private:
  Parameter& parameter_;
  double seconds_;
};

class SlowModel : public Module {
 public:
  SlowModel(ParameterTable& parameters, double unit_s) : Module("slow") {
    for (const auto& parameter : parameters.all()) {
      units_.push_back(
          std::make_unique<SlowUnit>(unit_name(parameter->name()), *parameter, unit_s));
      add_uses_of(*units_.back());
    }
  }
  static std::string unit_name(const std::string& parameter) { return "of " + parameter; }

  std::unique_ptr<Saved> prepare(const PrepareContext&) const override {
    return std::make_unique<Saved>();
  }

 protected:
  void do_forward(StepContext& context, Tensor, Tensor, Saved& saved) override {
    for (const auto& unit : units_) unit->forward(context, {}, {}, saved);
  }
  void do_backward(StepContext& context, Tensor, Tensor, Saved& saved) override {
    for (auto unit = units_.rbegin(); unit != units_.rend(); ++unit)
      (*unit)->backward(context, {}, {}, saved);
    const Tensor loss = context.microbatch.loss;
    if (loss.present()) context.stream.fill_zero(loss.data(), loss.size_bytes());
  }

 private:
  std::vector<std::unique_ptr<SlowUnit>> units_;
};

ModelSource slow_source(double unit_s) {
  ModelSource source{.parameters = {}, .units = {}, .width = 1, .create = {}};
  for (int64_t i = 0; i < kUnits; ++i) {
    const std::string name = fmt::format("p{}", i);
    source.parameters.push_back(
        {.name = name, .shape = {kWidth}, .initializer = {.kind = Initializer::Kind::kOne}});
    source.units.push_back({SlowModel::unit_name(name), {{name, 0}}});
  }
  source.create = [unit_s](ParameterTable& parameters, int64_t,
                           int64_t) -> Result<std::unique_ptr<Module>> {
    return std::unique_ptr<Module>(new SlowModel(parameters, unit_s));
  };
  return source;
}

struct Setting {
  int num_ranks = 2;
  int zero_stage = 3;
  double unit_s = 0;  // forward, and again backward
  double operation_s = 0;
};

struct Measured {
  Communication communication;
  double step_s = 0;
  double hidden_share() const { return communication.hidden_share().value(); }
};

class OverlapTest : public testing::TestWithParam<bool> {
 protected:
  OverlapTest() { write_random_tokens(directory_ / "train.bin", 200, 60, 5); }

  // Of the second step, by rank 0.
  Measured measure(const Setting& setting) {
    Measured measured;
    run_ranks(setting.num_ranks, {.operation_s = setting.operation_s}, [&](Communicator& world) {
      const auto device = CpuDevice::create({.asynchronous = GetParam()});
      const auto kernels = create_cpu_kernels(*device, DType::kF32);
      const WindowLoader loader =
          WindowLoader::create(TokenFile::open(posix_files(), directory_ / "train.bin").value(), 4,
                               60, 1)
              .value();
      Mesh mesh = Mesh::create(world, {.data = world.size()}).value();
      EngineOptions options;
      options.T = 4;
      options.batch = {.num_microbatches = 2, .num_lanes = 2};
      if (setting.num_ranks == 1) options.batch = {};
      options.steps = 10;
      options.zero_stage = setting.zero_stage;
      options.bucket_bytes = kWidth * 4;  // one a unit
      const auto engine =
          Engine::create(*device, *kernels, mesh, slow_source(setting.unit_s), options).value();
      throw_if_error(engine->initialize());
      throw_if_error(engine->run_step(0, loader, {}).status());
      const auto begin = std::chrono::steady_clock::now();
      const StepResult result = engine->run_step(1, loader, {}).value();
      const std::chrono::duration<double> step = std::chrono::steady_clock::now() - begin;
      if (world.rank() == 0) measured = {result.communication, step.count()};
    });
    return measured;
  }

  // The first that is as it should be, of a few.
  Measured measure_until(const Setting& setting, const std::function<bool(const Measured&)>& good) {
    constexpr int kTries = 6;
    Measured measured = measure(setting);
    for (int i = 1; i < kTries && !good(measured); ++i) measured = measure(setting);
    return measured;
  }

  TemporaryDirectory directory_;
};

// Weights come 4 times in forward and, since two units are still there, twice in backward; 4
// gradients leave. Only the first and the last operation have nothing to hide behind.
constexpr double kOperations = 10;

TEST_P(OverlapTest, WhatComputesLongEnoughHidesCommunication) {
  const double unit_s = 0.05, operation_s = 0.015;
  // Shorter than computing and communicating in turn, with the exchange of scalars beside.
  const double compute_s = 2 * kUnits * unit_s;
  const double in_turn_s = compute_s + kOperations * operation_s;
  const auto good = [&](const Measured& measured) {
    return measured.hidden_share() > 0.6 && measured.step_s < in_turn_s;
  };
  const auto [communication, step_s] =
      measure_until({.unit_s = unit_s, .operation_s = operation_s}, good);
  EXPECT_GE(communication.busy_s, kOperations * operation_s);
  EXPECT_GE(communication.exposed_s, 1.9 * operation_s);
  EXPECT_GT(communication.hidden_share().value(), 0.6);
  EXPECT_GE(step_s, compute_s + 2 * operation_s);
  EXPECT_LT(step_s, in_turn_s);
}

TEST_P(OverlapTest, WithoutComputationAllOfItIsExposed) {
  const double operation_s = 0.01;
  const auto [communication, step_s] =
      measure_until({.operation_s = operation_s},
                    [](const Measured& measured) { return measured.hidden_share() < 0.1; });
  EXPECT_GE(communication.busy_s, kOperations * operation_s);
  EXPECT_LE(communication.busy_s, step_s);
  EXPECT_LE(communication.exposed_s, step_s);
  EXPECT_LT(communication.hidden_share().value(), 0.1);
}

// Stage 1 reduces bucket by bucket beside backward, and gathers all weights after the update: of 8
// operations 3 can be hidden.
TEST_P(OverlapTest, WeightsThatAreGatheredAfterTheUpdateAreExposed) {
  const double unit_s = 0.05, operation_s = 0.015;
  const auto [communication, step_s] =
      measure_until({.zero_stage = 1, .unit_s = unit_s, .operation_s = operation_s},
                    [](const Measured& measured) { return measured.hidden_share() > 0.2; });
  EXPECT_GE(communication.busy_s, 2 * kUnits * operation_s);
  EXPECT_GE(communication.exposed_s, (kUnits + 0.9) * operation_s);
  EXPECT_LE(communication.exposed_s, step_s);
  EXPECT_GT(communication.hidden_share().value(), 0.2);
}

TEST_P(OverlapTest, OneRankHasNoFigure) {
  const Communication communication = measure({.num_ranks = 1, .unit_s = 0.001}).communication;
  EXPECT_EQ(communication.busy_s, 0);
  EXPECT_EQ(communication.exposed_s, 0);
  EXPECT_FALSE(communication.hidden_share());
}

INSTANTIATE_TEST_SUITE_P(Streams, OverlapTest, testing::Bool(), [](const auto& tested) {
  return tested.param ? "Asynchronous" : "Inline";
});

}  // namespace
}  // namespace leasehold
