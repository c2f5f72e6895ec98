// Tests that training agrees with PyTorch: in double with the reference kernels, stepped by hand,
// and in fp32 with the CPU kernels and the training engine.
#include <cmath>
#include <gtest/gtest.h>

#include "collectives/self.h"
#include "models/gpt.h"
#include "runtime/data/token_file.h"
#include "tests/models/pytorch_fixture.h"
#include "tests/support/module_harness.h"
#include "tests/support/reference_kernels.h"
#include "tests/support/small_job.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

void expect_near(double actual, double expected, double relative, const std::string& what) {
  EXPECT_NEAR(actual, expected, relative * std::abs(expected)) << what;
}

// One model in double with AdamW state, stepped as the trainer steps.
class DoubleTraining {
 public:
  explicit DoubleTraining(const PytorchFixture& fixture)
      : fixture_(fixture),
        harness_(
            *device_, *kernels_, describe_parameters(fixture.model),
            [&](ParameterTable& parameters) {
              return create_gpt(fixture.model, parameters).value();
            },
            fixture.sequences, fixture.model.sequence) {
    for (const auto& parameter : harness_.parameters().all()) {
      const auto& weights = fixture.weights.at(parameter->name());
      for (size_t i = 0; i < weights.size(); ++i) {
        set_element(parameter->value(), static_cast<int64_t>(i), weights[i]);
      }
      states_.push_back({harness_.tensor(DType::kF64, parameter->local_shape()),
                         harness_.tensor(DType::kF64, parameter->local_shape())});
    }
    harness_.random_microbatch(fixture.model.vocab, 0);  // allocates its tensors
  }

  // Returns the logits of the first step's windows, with the present weights.
  std::vector<double> logits() {
    load_batch(0);
    const int64_t N = fixture_.sequences * fixture_.model.sequence;
    harness_.microbatch.logits = harness_.tensor(DType::kF64, {N, fixture_.model.vocab});
    harness_.forward({}, {});
    auto values = elements(harness_.microbatch.logits);
    harness_.microbatch.logits = {};
    return values;
  }

  void run(int64_t step) {
    load_batch(step);
    harness_.forward_backward({}, {}, {}, {});
    loss = harness_.mean_loss();
    double squares = 0;
    for (const auto& parameter : harness_.parameters().all()) {
      if (parameter->spec().num_gradient_slots == 2) {
        kernels_->add(harness_.stream(), parameter->gradient(0), parameter->gradient(1),
                      parameter->gradient(0));
      }
      for (const double g : elements(parameter->gradient())) squares += g * g;
    }
    gradient_norm = std::sqrt(squares);
    const double lr = learning_rate(fixture_.optimizer, step, fixture_.steps);
    const double clip = clip_factor(fixture_.optimizer, gradient_norm);
    for (size_t i = 0; i < states_.size(); ++i) {
      const Parameter& parameter = *harness_.parameters().all()[i];
      const int64_t count = parameter.value().num_elements();
      kernels_->adamw(harness_.stream(),
                      adamw_step(fixture_.optimizer, lr, step, parameter.spec().decay, 1, clip),
                      parameter.value().flat(0, count), parameter.gradient().flat(0, count),
                      states_[i].m.flat(0, count), states_[i].v.flat(0, count));
    }
  }

  double loss = 0;
  double gradient_norm = 0;

 private:
  struct State {
    Tensor m;
    Tensor v;
  };

  void load_batch(int64_t step) {
    const int64_t T = fixture_.model.sequence, N = fixture_.sequences * T;
    for (int64_t i = 0; i < N; ++i) {
      const auto at = static_cast<size_t>(step * N + i);
      harness_.microbatch.tokens.as<int32_t>()[i] = fixture_.windows[at];
      harness_.microbatch.targets.as<int32_t>()[i] =
          (i + 1) % T == 0 ? 0 : fixture_.windows[at + 1];
    }
  }

  const PytorchFixture& fixture_;
  const std::unique_ptr<CpuDevice> device_ = CpuDevice::create({});
  const std::unique_ptr<Kernels> kernels_ = create_reference_kernels();
  ModuleHarness harness_;
  std::vector<State> states_;
};

// The parameter is the fixture.
class PytorchTest : public testing::TestWithParam<std::string> {};

TEST_P(PytorchTest, ReferenceKernelsAgreeInDouble) {
  const PytorchFixture fixture = read_pytorch_fixture(GetParam());
  DoubleTraining training(fixture);
  for (int64_t step = 0; step < fixture.steps; ++step) {
    SCOPED_TRACE(step);
    training.run(step);
    expect_near(training.loss, fixture.float64.losses[static_cast<size_t>(step)], 1e-13, "loss");
    expect_near(training.gradient_norm, fixture.float64.gradient_norms[static_cast<size_t>(step)],
                1e-12, "gradient norm");
  }
}

TEST_P(PytorchTest, LogitsAgree) {
  const PytorchFixture fixture = read_pytorch_fixture(GetParam());
  DoubleTraining reference(fixture);
  const auto in_double = reference.logits();
  ASSERT_EQ(in_double.size(), fixture.logits.size());
  for (size_t i = 0; i < in_double.size(); ++i)
    ASSERT_NEAR(in_double[i], fixture.logits[i], 1e-12) << i;

  const auto device = CpuDevice::create({.num_threads = 2});
  const auto kernels = create_cpu_kernels(*device);
  const int64_t T = fixture.model.sequence, N = fixture.sequences * T;
  ModuleHarness harness(
      *device, *kernels, describe_parameters(fixture.model),
      [&](ParameterTable& parameters) { return create_gpt(fixture.model, parameters).value(); },
      fixture.sequences, T);
  for (const auto& parameter : harness.parameters().all()) {
    const auto& weights = fixture.weights.at(parameter->name());
    std::copy(weights.begin(), weights.end(), parameter->value().as<float>());
  }
  harness.random_microbatch(fixture.model.vocab, 0);  // allocates its tensors
  harness.microbatch.targets = harness.microbatch.loss = {};
  std::copy_n(fixture.windows.begin(), N, harness.microbatch.tokens.as<int32_t>());
  harness.microbatch.logits = harness.tensor(DType::kF32, {N, fixture.model.vocab});
  harness.forward({}, {});
  double largest = 0, difference = 0;
  for (size_t i = 0; i < fixture.logits.size(); ++i) {
    largest = std::max(largest, std::abs(fixture.logits[i]));
    difference = std::max(
        difference,
        std::abs(element(harness.microbatch.logits, static_cast<int64_t>(i)) - fixture.logits[i]));
  }
  EXPECT_GT(largest, 0.5);
  EXPECT_LT(difference, 2e-6);
  RecordProperty("largest_difference", fmt::format("{:.3g}", difference));
}

void write_tokens(const std::string& path, const std::vector<int32_t>& tokens) {
  std::string content = make_token_header(static_cast<int64_t>(tokens.size()), 2);
  for (const int32_t token : tokens) {
    content.push_back(static_cast<char>(token & 0xff));
    content.push_back(static_cast<char>(token >> 8));
  }
  throw_if_error(publish_file(posix_files(), path, content, "test"));
}

// Returns the windows that the loader shuffles to samples 0, 1, ...: learned from a file whose
// tokens are the numbers of their windows.
std::vector<int64_t> windows_of_samples(const std::string& path, int64_t num_windows, int64_t T,
                                        uint64_t seed) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i <= num_windows * T; ++i) tokens.push_back(static_cast<int32_t>(i / T));
  write_tokens(path, tokens);
  const auto loader =
      WindowLoader::create(TokenFile::open(posix_files(), path).value(), T, num_windows + 1, seed)
          .value();
  std::vector<int64_t> windows;
  std::vector<int32_t> window(static_cast<size_t>(T)), targets(static_cast<size_t>(T));
  for (int64_t i = 0; i < num_windows; ++i) {
    throw_if_error(loader.sample(static_cast<uint64_t>(i), window, targets));
    windows.push_back(window[0]);
  }
  return windows;
}

// Writes the fixture's windows to a token file, ordered so that sample i is the fixture's window i.
void write_fixture_tokens(const PytorchFixture& fixture, const std::string& path, uint64_t seed) {
  const int64_t T = fixture.model.sequence, num_windows = fixture.steps * fixture.sequences;
  const auto order = windows_of_samples(path, num_windows, T, seed);
  std::vector<int32_t> tokens(static_cast<size_t>(num_windows * T + 1));
  for (int64_t i = 0; i < num_windows; ++i) {
    for (int64_t t = 0; t < T; ++t) {
      tokens[static_cast<size_t>(order[static_cast<size_t>(i)] * T + t)] =
          fixture.windows[static_cast<size_t>(i * T + t)];
    }
  }
  write_tokens(path, tokens);
}

TEST_P(PytorchTest, EngineAgreesInSinglePrecision) {
  const PytorchFixture fixture = read_pytorch_fixture(GetParam());
  const TemporaryDirectory directory;
  SmallJob job;
  job.model = fixture.model;
  job.options.B = 2;
  job.options.T = fixture.model.sequence;
  job.options.batch = {.num_microbatches = fixture.sequences / 2,
                       .num_lanes = fixture.sequences / 2};
  job.options.steps = fixture.steps;
  job.options.optimizer = fixture.optimizer;
  const std::string path = directory / "tokens.bin";
  write_fixture_tokens(fixture, path, job.options.seed);

  const auto world = create_self_communicator("world");
  SmallRank rank(job, path, *world);
  for (const StateSlice& slice : rank.engine().needed_slices()) {
    if (slice.kind != StateKind::kWeight) continue;
    const float* from = fixture.weights.at(slice.parameter).data() + slice.begin;
    std::copy(from, from + slice.data.num_elements(), slice.data.as<float>());
  }
  throw_if_error(rank.engine().finish_restore());
  double largest_loss = 0, largest_norm = 0;  // relative differences from float64
  for (int64_t step = 0; step < fixture.steps; ++step) {
    SCOPED_TRACE(step);
    const StepResult result = rank.engine().run_step(step, rank.loader(), {}).value();
    const auto at = static_cast<size_t>(step);
    const PytorchFixture::Run& exact = fixture.float64;
    largest_loss = std::max(largest_loss, std::abs(result.loss / exact.losses[at] - 1));
    largest_norm =
        std::max(largest_norm, std::abs(result.gradient_norm / exact.gradient_norms[at] - 1));
    for (const auto* expected : {&fixture.float64, &fixture.float32}) {
      expect_near(result.loss, expected->losses[at], 1e-6, "loss");
      expect_near(result.gradient_norm, expected->gradient_norms[at], 1e-6, "gradient norm");
    }
  }
  RecordProperty("largest_loss_difference", fmt::format("{:.2g}", largest_loss));
  RecordProperty("largest_norm_difference", fmt::format("{:.2g}", largest_norm));
}

INSTANTIATE_TEST_SUITE_P(, PytorchTest, testing::Values("gpt2", "llama", "llama_tied"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace leasehold
