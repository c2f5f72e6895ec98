// Tests that a model cut over the ranks of the tensor axis computes the same as one rank: its loss
// and every gradient, with the same bits in every run. It sends what models/describe_tensor.h says.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <map>

#include "collectives/threads.h"
#include "models/boundaries.h"
#include "models/describe_tensor.h"
#include "models/gpt.h"
#include "runtime/device/cpu_device.h"
#include "tests/support/counting_communicator.h"
#include "tests/support/module_harness.h"
#include "tests/support/reference_kernels.h"

namespace leasehold {
namespace {

// Over 2 and 4 ranks a shard of the 36 rows is no multiple of the 12 positions.
constexpr int64_t kB = 3, kT = 12, kN = kB * kT;
constexpr uint64_t kSeed = 31;

// Returns a model whose kv heads divide over 2, 3 and 4 ranks; llama has two query heads for each
// of them.
ModelConfig small_config(double dropout, const std::string& family = "gpt2") {
  ModelConfig config;
  config.family = family;
  config.layers = 2;
  config.hidden = 96;
  config.heads = family == "llama" ? 24 : 12;
  config.kv_heads = 12;
  config.ffn = 132;
  config.sequence = 15;
  config.vocab = 12 * 9;
  config.dropout = dropout;
  return complete_model_config(config).value();
}

// The way in which ranks compute.
struct Setting {
  bool reference = false;  // kernels: the reference in double, otherwise the CPU's
  CpuDeviceOptions device = {};
  ThreadWorldOptions world = {};
  Recompute recompute = Recompute::kNone;
};

// A harness on its rank's device and kernels.
class Rank {
 public:
  // Makes one rank of `tensor`; null: the only rank.
  Rank(const ModelConfig& config, const Setting& setting, Communicator* tensor)
      : device_(CpuDevice::create(setting.device)),
        kernels_(setting.reference ? create_reference_kernels() : create_cpu_kernels(*device_)),
        harness(
            *device_, *kernels_, describe_parameters(config),
            [&](ParameterTable& parameters) { return create_gpt(config, parameters).value(); }, kB,
            kT, setting.recompute, tensor) {
    harness.randomize(kSeed, 0.1);
    harness.random_microbatch(config.vocab, kSeed + 1);
    harness.microbatch.targets.as<int32_t>()[5] = -1;
    harness.microbatch.num_targets = kN - 1;
    harness.microbatch.step = 2;
    harness.microbatch.index = 7;
    for (const auto& parameter : harness.parameters().all()) {
      for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
        for (int64_t i = 0; i < parameter->gradient(slot).num_elements(); ++i)
          set_element(parameter->gradient(slot), i, 1e30);  // must be overwritten
      }
    }
  }

 private:
  std::unique_ptr<CpuDevice> device_;
  std::unique_ptr<Kernels> kernels_;

 public:
  ModuleHarness harness;
};

// The results of a microbatch: the loss, and every gradient of the whole model by name and slot.
struct Outcome {
  double loss = 0;
  std::map<std::string, std::vector<double>> gradients;
  bool operator==(const Outcome&) const = default;
};

// Adds a rank's gradients to the whole. The gradient of its part of a cut parameter goes to its
// place; any other gradient is its part of a sum. Called in the order of the axis.
void add_gradients(ModuleHarness& harness, Outcome& outcome) {
  for (const auto& parameter : harness.parameters().all()) {
    for (int slot = 0; slot < parameter->spec().num_gradient_slots; ++slot) {
      auto& whole = outcome.gradients[parameter->name() + " slot " + std::to_string(slot)];
      whole.resize(static_cast<size_t>(parameter->spec().shape.num_elements()));
      const auto here = elements(parameter->gradient(slot));
      for (size_t i = 0; i < here.size(); ++i) {
        const int64_t at =
            element_of_whole(*parameter, harness.tensor_rank(), static_cast<int64_t>(i));
        whole[static_cast<size_t>(at)] += here[i];
      }
    }
  }
}

// Computes on one rank, or on the ranks of an axis, whose losses must agree to the last bit.
Outcome compute(const ModelConfig& config, int num_ranks, const Setting& setting,
                const std::function<void(ModuleHarness&)>& run) {
  Outcome outcome;
  if (num_ranks == 1) {
    Rank rank(config, setting, nullptr);
    run(rank.harness);
    outcome.loss = rank.harness.mean_loss();
    add_gradients(rank.harness, outcome);
    return outcome;
  }
  run_ranks(num_ranks, setting.world, [&](Communicator& tensor) {
    Rank rank(config, setting, &tensor);
    run(rank.harness);
    // One rank after another, in the order of the axis.
    const Tensor turn = rank.harness.tensor(DType::kF64, {1});
    if (tensor.rank() > 0) {
      throw_if_error(tensor.receive(turn, tensor.rank() - 1, rank.harness.stream())
                         .wait(Deadline::after_s(60)));
      EXPECT_EQ(rank.harness.mean_loss(), outcome.loss) << "rank " << tensor.rank();
    }
    outcome.loss = rank.harness.mean_loss();
    add_gradients(rank.harness, outcome);
    if (tensor.rank() + 1 < num_ranks) {
      throw_if_error(
          tensor.send(turn, tensor.rank() + 1, rank.harness.stream()).wait(Deadline::after_s(60)));
    }
  });
  return outcome;
}

void forward_backward(ModuleHarness& harness) { harness.forward_backward({}, {}, {}, {}); }

void expect_near(const Outcome& actual, const Outcome& expected, double loss_tolerance,
                 double gradient_tolerance) {
  EXPECT_NEAR(actual.loss, expected.loss, loss_tolerance * expected.loss);
  ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
  for (const auto& [name, gradient] : expected.gradients) {
    const auto& other = actual.gradients.at(name);
    ASSERT_EQ(other.size(), gradient.size()) << name;
    double largest = 0, difference = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      largest = std::max(largest, std::abs(gradient[i]));
      difference = std::max(difference, std::abs(gradient[i] - other[i]));
    }
    EXPECT_GT(largest, 1e-6) << name;
    EXPECT_LT(difference, gradient_tolerance * largest) << name;
  }
}

// The parameters are family, ranks and dropout.
class TensorParallelTest : public testing::TestWithParam<std::tuple<const char*, int, double>> {
 protected:
  ModelConfig config() const {
    return small_config(std::get<2>(GetParam()), std::get<0>(GetParam()));
  }
  int num_ranks() const { return std::get<1>(GetParam()); }
};

// In double, since rounding could hide a rank that mistakes a row, a head or a random number.
TEST_P(TensorParallelTest, ComputesWhatOneRankDoesInDouble) {
  const Setting setting{.reference = true};
  expect_near(compute(config(), num_ranks(), setting, forward_backward),
              compute(config(), 1, setting, forward_backward), 1e-13, 1e-12);
}

TEST_P(TensorParallelTest, ComputesWhatOneRankDoesOnCpuKernels) {
  expect_near(compute(config(), num_ranks(), {}, forward_backward),
              compute(config(), 1, {}, forward_backward), 1e-6, 2e-5);
}

// The bits do not depend on when threads, streams and messages of the ranks run.
TEST_P(TensorParallelTest, GivesTheSameBitsAgain) {
  const Outcome expected = compute(config(), num_ranks(), {}, forward_backward);
  EXPECT_EQ(compute(config(), num_ranks(), {}, forward_backward), expected);
  const Setting late{
      .device = {.num_threads = 2, .asynchronous = true, .delay_seed = 5},
      .world = {.delay_seed = 6},
  };
  EXPECT_EQ(compute(config(), num_ranks(), late, forward_backward), expected);
}

TEST_P(TensorParallelTest, AccumulatesGradients) {
  const Setting setting{.reference = true};
  const auto twice = [&](ModuleHarness& harness) {
    forward_backward(harness);
    harness.gradients = Write::kAccumulate;
    harness.microbatch.index += 1;
    forward_backward(harness);
  };
  expect_near(compute(config(), num_ranks(), setting, twice), compute(config(), 1, setting, twice),
              1e-13, 1e-12);
}

TEST_P(TensorParallelTest, LossesOfTrainingAndEvaluationAreTheSame) {
  compute(config(), num_ranks(), {}, [](ModuleHarness& harness) {
    forward_backward(harness);
    const double of_backward = harness.mean_loss();
    harness.forward({}, {});
    EXPECT_EQ(harness.mean_loss(), of_backward);
  });
}

// Recomputing changes no bit, and communicates in the same order.
TEST_P(TensorParallelTest, RecomputesToTheSameBits) {
  const Outcome expected = compute(config(), num_ranks(), {}, forward_backward);
  for (const Recompute recompute : {Recompute::kAttention, Recompute::kBlock}) {
    EXPECT_EQ(compute(config(), num_ranks(), {.recompute = recompute}, forward_backward), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(, TensorParallelTest,
                         testing::Combine(testing::Values("gpt2", "llama"),
                                          testing::Values(2, 3, 4), testing::Values(0.0, 0.2)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) + "Ranks" +
                                  std::to_string(std::get<1>(test.param)) +
                                  (std::get<2>(test.param) == 0 ? "" : "Dropout");
                         });

// With a group of one rank nothing crosses, and the bits are those without a group.
TEST(TensorParallel, AGroupOfOneRankIsNoGroup) {
  const ModelConfig config = small_config(0.2);
  const Outcome expected = compute(config, 1, {}, forward_backward);
  run_ranks(1, {}, [&](Communicator& alone) {
    CommunicationCounts counts;
    const auto counting = create_counting_communicator(alone, counts);
    Rank rank(config, {}, counting.get());
    forward_backward(rank.harness);
    Outcome outcome;
    outcome.loss = rank.harness.mean_loss();
    add_gradients(rank.harness, outcome);
    EXPECT_EQ(outcome, expected);
    EXPECT_EQ(counts.of("world").calls, 0);
  });
}

TEST(TensorParallel, SendsWhatTheFormulaSays) {
  for (const char* family : {"gpt2", "llama"}) {
    const ModelConfig config = small_config(0.2, family);
    for (const Recompute recompute : {Recompute::kNone, Recompute::kAttention, Recompute::kBlock}) {
      for (const int num_ranks : {2, 4}) {
        SCOPED_TRACE(fmt::format("{}, {} ranks, recompute {}", family, num_ranks,
                                 static_cast<int>(recompute)));
        run_ranks(num_ranks, {}, [&](Communicator& world) {
          CommunicationCounts counts;
          const auto counting = create_counting_communicator(world, counts);
          Rank rank(config, {.recompute = recompute}, counting.get());
          forward_backward(rank.harness);
          EXPECT_EQ(counts.of("world").bytes_sent,
                    tensor_bytes_sent(config, kN, num_ranks, recompute));
          // Rows are gathered or summed; no other communication happens.
          EXPECT_EQ(counts.of("world").calls,
                    counts.of("world", CountedOperation::kAllGather).calls +
                        counts.of("world", CountedOperation::kAllToAll).calls);
          counts.reset();
          rank.harness.forward({}, {});
          EXPECT_EQ(counts.of("world").bytes_sent, tensor_bytes_sent(config, kN, num_ranks, {}));
        });
      }
    }
  }
}

// Two stages of a pipeline pass shards.
TEST(TensorParallel, StagesMakeUpTheWholeModel) {
  const ModelConfig config = small_config(0.2);
  run_ranks(2, {}, [&](Communicator& tensor) {
    Rank whole(config, {}, &tensor);
    forward_backward(whole.harness);
    const auto device = CpuDevice::create({});
    const auto kernels = create_cpu_kernels(*device);
    const auto stage = [&](int64_t begin, int64_t end) {
      auto harness = std::make_unique<ModuleHarness>(
          *device, *kernels, describe_parameters(config),
          [&](ParameterTable& parameters) {
            return create_gpt_stage(config, parameters, begin, end).value();
          },
          kB, kT, Recompute::kNone, &tensor);
      harness->randomize(kSeed, 0.1);
      harness->microbatch = whole.harness.microbatch;
      return harness;
    };
    const auto first = stage(0, 2), second = stage(2, num_units(config));
    const Shape shard{kN / 2, config.hidden};
    const Tensor between = first->tensor(DType::kF32, shard),
                 gradient = first->tensor(DType::kF32, shard);
    first->forward({}, between);
    second->forward_backward(between, {}, {}, gradient);
    first->forward_backward({}, between, gradient, {});
    for (const auto* part : {first.get(), second.get()}) {
      for (const ParameterUse& use : const_cast<ModuleHarness*>(part)->module().uses()) {
        EXPECT_EQ(elements(use.parameter->gradient(use.slot)),
                  elements(whole.harness.parameters().at(use.parameter->name()).gradient(use.slot)))
            << use.parameter->name();
      }
    }
  });
}

TEST(TensorParallel, ActivationsAreDividedByTheRanks) {
  const ModelConfig config = small_config(0.2);
  Rank whole(config, {}, nullptr);
  run_ranks(4, {}, [&](Communicator& tensor) {
    Rank rank(config, {}, &tensor);
    const int64_t tensors = 11 * config.layers + 1;
    EXPECT_LE(rank.harness.activation_bytes(),
              whole.harness.activation_bytes() / 4 + tensors * Arena::kAlignmentBytes);
  });
}

// Expects every rank to refuse before it communicates.
void expect_refused(int num_ranks, Code code, const std::string& what,
                    const std::function<void(Communicator&)>& refuses) {
  run_ranks(num_ranks, {}, [&](Communicator& tensor) {
    try {
      refuses(tensor);
      ADD_FAILURE() << "was not refused: " << what;
    } catch (const StatusError& caught) {
      EXPECT_EQ(caught.status().code(), code);
      EXPECT_NE(std::string(caught.what()).find(what), std::string::npos) << caught.what();
    }
  });
}

TEST(TensorParallel, RefusesRowsThatCannotBeDivided) {
  const ModelConfig config = small_config(0);
  expect_refused(
      4, Code::kBadConfig, "write parallel.tensor = 1, 2, or batch.microbatch = 4",
      [&](Communicator& tensor) {
        const auto device = CpuDevice::create({});
        const auto kernels = create_cpu_kernels(*device);
        ModuleHarness(
            *device, *kernels, describe_parameters(config),
            [&](ParameterTable& parameters) { return create_gpt(config, parameters).value(); }, 2,
            7, Recompute::kNone, &tensor);
      });
}

TEST(TensorParallel, RefusesParametersThatWereCutForOtherRanks) {
  const ModelConfig config = small_config(0);
  expect_refused(2, Code::kInternal, "but the tensor axis has 2 ranks", [&](Communicator& tensor) {
    const auto device = CpuDevice::create({});
    const auto kernels = create_cpu_kernels(*device);
    ParameterTable whole(describe_parameters(config));
    const auto module = create_gpt(config, whole).value();
    Arena arena = Arena::measuring("activations");
    Arena scratch = Arena::measuring("scratch");
    (void)module->prepare({.kernels = *kernels,
                           .activations = arena,
                           .scratch = scratch,
                           .B = kB,
                           .T = kT,
                           .tensor = &tensor});
  });
}

TEST(TensorParallel, RefusesToGiveLogits) {
  const ModelConfig config = small_config(0);
  expect_refused(
      2, Code::kInternal, "head: logits are given by one rank alone", [&](Communicator& tensor) {
        Rank rank(config, {}, &tensor);
        rank.harness.microbatch.logits = rank.harness.tensor(DType::kF32, {kN, config.vocab});
        rank.harness.forward({}, {});
      });
}

}  // namespace
}  // namespace leasehold
