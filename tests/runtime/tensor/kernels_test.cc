// The public functions of Kernels refuse operands that break their contracts, naming the operation.
#include "runtime/tensor/kernels.h"

#include <gtest/gtest.h>

#include "runtime/device/cpu_device.h"
#include "runtime/tensor/arena.h"

namespace leasehold {

namespace {

class KernelsChecks : public testing::Test {
 protected:
  Tensor f32(const Shape& shape) { return arena_.allocate(DType::kF32, shape); }
  Tensor of(DType dtype, const Shape& shape) { return arena_.allocate(dtype, shape); }

  // The call throws a programmer's error whose message has both texts.
  template <typename Call>
  void expect_refused(const std::string& operation, const std::string& what, Call&& call) {
    try {
      call();
      ADD_FAILURE() << operation << " accepted: " << what;
    } catch (const StatusError& caught) {
      EXPECT_EQ(caught.status().code(), Code::kInternal);
      const std::string message = caught.what();
      EXPECT_NE(message.find(operation + ": "), std::string::npos) << message;
      EXPECT_NE(message.find(what), std::string::npos) << message;
    }
  }

  std::unique_ptr<CpuDevice> device_ = CpuDevice::create({});
  std::unique_ptr<Kernels> kernels_ = create_cpu_kernels(*device_);
  std::unique_ptr<Stream> stream_ = device_->create_stream("test").value();
  Arena arena_ = Arena::create(*device_, "test", 1 << 20).value();
};

TEST_F(KernelsChecks, CpuKernelsChooseNoAlgorithmsAndRefuseThoseOfOthers) {
  EXPECT_EQ(kernels_->algorithms(), "");
  EXPECT_TRUE(kernels_->use_algorithms("").ok());
  const Status status = kernels_->use_algorithms("algorithms of cuBLASLt\nmore");
  EXPECT_EQ(status.code(), Code::kBadConfig);
  EXPECT_NE(status.message().find("'algorithms of cuBLASLt'"), std::string::npos)
      << status.message();
}

TEST_F(KernelsChecks, CpuKernelsTellWhatDecidesTheirBits) {
  EXPECT_EQ(kernels_->dtype(), DType::kF32);
  EXPECT_STREQ(kernels_->name(), "cpu");
  const std::string arithmetic_class = kernels_->arithmetic_class();
#if defined(__x86_64__)
  constexpr const char* kInstructions = "; x86-64";
#elif defined(__aarch64__)
  constexpr const char* kInstructions = "; armv8";
#endif
  for (const char* part : {"OpenBLAS", "core ", kInstructions, "tiles", "cpu kernels"}) {
    EXPECT_NE(arithmetic_class.find(part), std::string::npos) << arithmetic_class;
  }
  EXPECT_EQ(arithmetic_class.find('\n'), std::string::npos);
}

TEST_F(KernelsChecks, LinearRefusesWhatDoesNotFit) {
  const Tensor x = f32({4, 3}), weight = f32({5, 3}), y = f32({4, 5});
  expect_refused("linear_forward", "weight is F32 (5, 2), expected F32 (5, 3)", [&] {
    kernels_->linear_forward(*stream_, x, f32({5, 2}), {}, Activation::kNone, {}, y);
  });
  expect_refused("linear_forward", "bias is F32 (4), expected F32 (5)", [&] {
    kernels_->linear_forward(*stream_, x, weight, f32({4}), Activation::kNone, {}, y);
  });
  expect_refused("linear_forward", "y is F64 (4, 5), expected F32 (4, 5)", [&] {
    kernels_->linear_forward(*stream_, x, weight, {}, Activation::kNone, {},
                             of(DType::kF64, {4, 5}));
  });
  expect_refused("linear_forward", "pre given, but there is no activation", [&] {
    kernels_->linear_forward(*stream_, x, weight, {}, Activation::kNone, y, y);
  });
  expect_refused("linear_backward_input", "pre is absent", [&] {
    kernels_->linear_backward_input(*stream_, y, weight, Activation::kGelu, {}, x,
                                    Write::kOverwrite);
  });
  expect_refused("linear_backward_input", "cannot be accumulated", [&] {
    kernels_->linear_backward_input(*stream_, y, weight, Activation::kGelu, x, x,
                                    Write::kAccumulate);
  });
  expect_refused("linear_backward_weight", "dbias is F32 (3), expected F32 (5)", [&] {
    kernels_->linear_backward_weight(*stream_, y, x, weight, f32({3}), Write::kOverwrite);
  });
}

TEST_F(KernelsChecks, NormRefusesWhatDoesNotFit) {
  const Tensor x = f32({4, 8}), row = f32({8}), column = f32({4});
  expect_refused("layer_norm_forward", "sum given, but delta is absent", [&] {
    kernels_->layer_norm_forward(*stream_, x, {}, {}, x, row, row, 1e-5, x, column, column);
  });
  expect_refused("layer_norm_forward", "sum is absent", [&] {
    kernels_->layer_norm_forward(*stream_, x, x, {}, {}, row, row, 1e-5, x, column, column);
  });
  expect_refused("layer_norm_forward", "dropout 1 is not in [0, 1)", [&] {
    kernels_->layer_norm_forward(*stream_, x, x, {.p = 1}, x, row, row, 1e-5, x, column, column);
  });
  expect_refused("layer_norm_forward", "eps is 0, expected a positive number", [&] {
    kernels_->layer_norm_forward(*stream_, x, {}, {}, {}, row, row, 0, x, column, column);
  });
  expect_refused("layer_norm_backward", "workspace has 4 bytes", [&] {
    kernels_->layer_norm_backward(*stream_, x, x, row, column, column, {}, x, row, row,
                                  Write::kOverwrite, of(DType::kU8, {4}));
  });
}

TEST_F(KernelsChecks, RmsNormRefusesWhatDoesNotFit) {
  const Tensor x = f32({4, 8}), row = f32({8}), column = f32({4});
  expect_refused("rms_norm_forward", "rstd is F32 (8), expected F32 (4)",
                 [&] { kernels_->rms_norm_forward(*stream_, x, {}, {}, {}, row, 1e-5, x, row); });
  expect_refused("rms_norm_backward", "workspace has 4 bytes", [&] {
    kernels_->rms_norm_backward(*stream_, x, x, row, column, {}, x, row, Write::kOverwrite,
                                of(DType::kU8, {4}));
  });
}

TEST_F(KernelsChecks, SwigluRefusesWhatDoesNotFit) {
  const Tensor gate_up = f32({4, 6}), y = f32({4, 3});
  expect_refused("swiglu_forward", "gate_up is F32 (4, 3), expected F32 (4, 6)",
                 [&] { kernels_->swiglu_forward(*stream_, y, y); });
  expect_refused("swiglu_backward", "dgate_up is F32 (4, 3), expected F32 (4, 6)",
                 [&] { kernels_->swiglu_backward(*stream_, y, gate_up, y); });
}

TEST_F(KernelsChecks, RotaryRefusesWhatDoesNotFit) {
  const AttentionShape shape = {1, 4, 2, 1, 8}, odd = {1, 4, 2, 1, 7};
  const Tensor qkv = f32({1, 4, 2, 3, 8});
  expect_refused("rotary_backward", "dqkv is absent",
                 [&] { kernels_->rotary_backward(*stream_, shape, {}, {}); });
  expect_refused("rotary", "heads of 7 channels have no pairs", [&] {
    kernels_->rotary_forward(*stream_, odd, {}, f32({1, 4, 2, 3, 7}));
  });
  expect_refused("rotary_forward", "theta is 0",
                 [&] { kernels_->rotary_forward(*stream_, shape, {.theta = 0}, qkv); });
  const Rotary flat = {.factor = 8, .low_freq_factor = 4, .high_freq_factor = 4};
  expect_refused("rotary_forward", "high_freq_factor - low_freq_factor is 0",
                 [&] { kernels_->rotary_forward(*stream_, shape, flat, qkv); });
}

TEST_F(KernelsChecks, RotaryFrequenciesFollowTheFormula) {
  const Rotary plain = {.theta = 10000};
  EXPECT_EQ(plain.frequency(0, 64), 1.0);
  EXPECT_NEAR(plain.frequency(16, 64), 0.01, 1e-16);
  // Llama 3.1's: of 64 pairs the first turn often enough within 8192 positions, the last too
  // rarely.
  const Rotary scaled = {.theta = 500000, .factor = 8};
  const Rotary unscaled = {.theta = 500000};
  EXPECT_EQ(scaled.frequency(28, 128), unscaled.frequency(28, 128));
  EXPECT_DOUBLE_EQ(scaled.frequency(40, 128), unscaled.frequency(40, 128) / 8);
  const double between = scaled.frequency(30, 128) / unscaled.frequency(30, 128);
  EXPECT_GT(between, 0.125);
  EXPECT_LT(between, 1.0);
  for (int64_t i = 1; i < 64; ++i)
    EXPECT_LT(scaled.frequency(i, 128), scaled.frequency(i - 1, 128));
}

TEST_F(KernelsChecks, RotaryBackTakesItBack) {
  const AttentionShape shape = {2, 9, 1, 2, 8};
  const Tensor qkv = f32({2, 9, 1, 4, 8});
  std::vector<float> before;
  for (int64_t i = 0; i < qkv.num_elements(); ++i) {
    qkv.as<float>()[i] = 0.01F * static_cast<float>(i % 71) - 0.3F;
    before.push_back(qkv.as<float>()[i]);
  }
  kernels_->rotary_forward(*stream_, shape, {}, qkv);
  ASSERT_TRUE(stream_->synchronize(Deadline::after_s(10)).ok());
  int changed = 0;
  for (size_t i = 0; i < before.size(); ++i) changed += qkv.as<float>()[i] != before[i] ? 1 : 0;
  EXPECT_EQ(changed, 2 * 8 * 3 * 8) << "all but position 0 and the values";
  kernels_->rotary_backward(*stream_, shape, {}, qkv);
  ASSERT_TRUE(stream_->synchronize(Deadline::after_s(10)).ok());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(qkv.as<float>()[i], before[i], 1e-6F);
}

TEST_F(KernelsChecks, EmbeddingRefusesTooFewPositionsAndWrongIds) {
  const Tensor tokens = of(DType::kI32, {2, 3}), table = f32({7, 4}), out = f32({6, 4});
  expect_refused("embedding_forward", "position_weight is F32 (2, 4), expected F32 (3, 4)", [&] {
    kernels_->embedding_forward(*stream_, tokens, table, f32({2, 4}), {}, out);
  });
  expect_refused("embedding_forward", "tokens is F32 (2, 3), expected I32 (2, 3)", [&] {
    kernels_->embedding_forward(*stream_, f32({2, 3}), table, {}, {}, out);
  });
  tokens.as<int32_t>()[4] = 7;
  kernels_->embedding_forward(*stream_, tokens, table, {}, {}, out);
  const Status status = stream_->synchronize(Deadline::after_s(10));
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_NE(status.message().find("token 7 at 4, the vocabulary has 7"), std::string::npos)
      << status.message();
}

TEST_F(KernelsChecks, CrossEntropyRefusesWrongTargets) {
  const Tensor logits = f32({2, 5}), targets = of(DType::kI32, {2}), loss = of(DType::kF64, {1});
  const Tensor workspace = of(DType::kU8, {kernels_->cross_entropy_workspace_bytes(2, 5)});
  expect_refused("cross_entropy", "loss is F32 (1), expected F64 (1)", [&] {
    kernels_->cross_entropy(*stream_, logits, targets, 1, f32({1}), workspace);
  });
  expect_refused("cross_entropy", "targets is I32 (3), expected I32 (2)", [&] {
    kernels_->cross_entropy(*stream_, logits, of(DType::kI32, {3}), 1, loss, workspace);
  });
  targets.as<int32_t>()[1] = 5;
  kernels_->cross_entropy(*stream_, logits, targets, 1, loss, workspace);
  EXPECT_EQ(stream_->synchronize(Deadline::after_s(10)).code(), Code::kInternal);
}

TEST_F(KernelsChecks, ShardsOfAVocabularyAreChecked) {
  const Tensor logits = f32({2, 5}), targets = of(DType::kI32, {2}), loss = of(DType::kF64, {1});
  const Tensor statistics = of(DType::kF64, {2, 3}), all = of(DType::kF64, {3, 2, 3});
  const Tensor workspace = of(DType::kU8, {kernels_->cross_entropy_workspace_bytes(2, 5)});
  expect_refused("cross_entropy_statistics", "shard 3 of a vocabulary cut into 3", [&] {
    kernels_->cross_entropy_statistics(*stream_, logits, targets, {3, 3}, true, statistics);
  });
  expect_refused("cross_entropy_from_statistics", "expected F64 (2, 2, 3)", [&] {
    kernels_->cross_entropy_from_statistics(*stream_, all, targets, {1, 2}, 1, logits, loss,
                                            workspace);
  });
  expect_refused("cross_entropy_from_statistics", "logits given, but no gradient", [&] {
    kernels_->cross_entropy_from_statistics(*stream_, all, targets, {1, 3}, 0, logits, loss,
                                            workspace);
  });
  const Tensor tokens = of(DType::kI32, {1, 2}), table = f32({5, 4}), out = f32({2, 4});
  expect_refused("embedding_forward", "shard 0 of a vocabulary cut into 0", [&] {
    kernels_->embedding_forward(*stream_, tokens, table, {}, {}, out, {0, 0});
  });
  // 14 is the last of three shards' ids.
  tokens.as<int32_t>()[0] = targets.as<int32_t>()[0] = 14;
  kernels_->cross_entropy_statistics(*stream_, logits, targets, {1, 3}, true, statistics);
  kernels_->embedding_forward(*stream_, tokens, table, {}, {}, out, {1, 3});
  EXPECT_TRUE(stream_->synchronize(Deadline::after_s(10)).ok());
  tokens.as<int32_t>()[0] = 15;
  kernels_->embedding_forward(*stream_, tokens, table, {}, {}, out, {1, 3});
  EXPECT_EQ(stream_->synchronize(Deadline::after_s(10)).code(), Code::kInternal);
  stream_ = device_->create_stream("another").value();
  targets.as<int32_t>()[0] = 15;
  kernels_->cross_entropy_statistics(*stream_, logits, targets, {1, 3}, true, statistics);
  EXPECT_EQ(stream_->synchronize(Deadline::after_s(10)).code(), Code::kInternal);
}

TEST_F(KernelsChecks, CrossEntropyInOneShardHasTheBitsOfTheWhole) {
  constexpr int64_t kN = 3, kV = 1030;
  const Tensor whole = f32({kN, kV}), shard = f32({kN, kV}), targets = of(DType::kI32, {kN});
  for (int64_t i = 0; i < kN * kV; ++i) {
    whole.as<float>()[i] = shard.as<float>()[i] =
        0.01F * static_cast<float>((i * 7919) % 1409 - 704);
  }
  for (int64_t i = 0; i < kN; ++i) targets.as<int32_t>()[i] = static_cast<int32_t>(i * 411 - 1);
  const Tensor loss = of(DType::kF64, {2}), statistics = of(DType::kF64, {1, kN, 3});
  const Tensor workspace = of(DType::kU8, {kernels_->cross_entropy_workspace_bytes(kN, kV)});
  kernels_->cross_entropy(*stream_, whole, targets, 0.3F, loss.rows(0, 1), workspace);
  kernels_->cross_entropy_statistics(*stream_, shard, targets, {}, true,
                                     statistics.reshape({kN, 3}));
  kernels_->cross_entropy_from_statistics(*stream_, statistics, targets, {}, 0.3F, shard,
                                          loss.rows(1, 1), workspace);
  ASSERT_TRUE(stream_->synchronize(Deadline::after_s(10)).ok());
  EXPECT_EQ(loss.as<double>()[0], loss.as<double>()[1]);
  EXPECT_GT(loss.as<double>()[0], 1);
  for (int64_t i = 0; i < kN * kV; ++i) {
    ASSERT_EQ(whole.as<float>()[i], shard.as<float>()[i]) << i;
  }
}

TEST_F(KernelsChecks, CrossEntropyOfNotANumberIsNotANumber) {
  const Tensor logits = f32({2, 5}), targets = of(DType::kI32, {2}), loss = of(DType::kF64, {1});
  const Tensor workspace = of(DType::kU8, {kernels_->cross_entropy_workspace_bytes(2, 5)});
  logits.as<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  kernels_->cross_entropy(*stream_, logits, targets, 0, loss, workspace);
  EXPECT_TRUE(stream_->synchronize(Deadline::after_s(10)).ok());
  EXPECT_NE(*loss.as<double>(), *loss.as<double>());
}

TEST_F(KernelsChecks, AttentionRefusesWhatDoesNotFit) {
  const AttentionShape shape = {1, 4, 2, 1, 8};
  const Tensor qkv = f32({1, 4, 2, 3, 8}), out = f32({1, 4, 2, 8}), lse = f32({1, 2, 4});
  const Tensor workspace = of(DType::kU8, {kernels_->attention_workspace_bytes(shape)});
  expect_refused("attention_forward", "qkv is F32 (4, 48)", [&] {
    kernels_->attention_forward(*stream_, shape, qkv.reshape({4, 48}), {}, out, lse, workspace);
  });
  expect_refused("attention_backward", "dqkv is absent", [&] {
    kernels_->attention_backward(*stream_, shape, out, qkv, out, lse, {}, {}, workspace);
  });
  expect_refused("attention", "2 heads from 3 of 4", [&] {
    AttentionShape shard = shape;
    shard.first_head = 3;
    shard.all_heads = 4;
    kernels_->attention_forward(*stream_, shard, qkv, {}, out, lse, workspace);
  });
  expect_refused("attention_forward", "workspace has 0 bytes",
                 [&] { kernels_->attention_forward(*stream_, shape, qkv, {}, out, lse, {}); });
}

TEST_F(KernelsChecks, FlatOperationsRefuseWhatDoesNotFit) {
  const Tensor x = f32({9});
  expect_refused("add", "right is F32 (8), expected F32 (9)",
                 [&] { kernels_->add(*stream_, x, f32({8}), x); });
  expect_refused("fill", "out is I32", [&] { kernels_->fill(*stream_, of(DType::kI32, {3}), 0); });
  expect_refused("cast", "I32 is not among",
                 [&] { kernels_->cast(*stream_, of(DType::kI32, {9}), x); });
  expect_refused("squared_norms", "sums is F64 (2), expected F64 (1)",
                 [&] { kernels_->squared_norms(*stream_, x, 1, of(DType::kF64, {2})); });
  expect_refused("adamw", "v is F32 (8), expected F32 (9)",
                 [&] { kernels_->adamw(*stream_, {}, x, x, x, f32({8})); });
  expect_refused("adamw", "not positive",
                 [&] { kernels_->adamw(*stream_, {.correction1 = 0}, x, x, x, x); });
}

}  // namespace

}  // namespace leasehold
