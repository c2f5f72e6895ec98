#include "models/describe_tensor.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

ModelConfig config_of(int64_t heads, int64_t ffn, int64_t vocab) {
  ModelConfig config;
  config.layers = 2;
  config.hidden = heads * 8;
  config.heads = heads;
  config.ffn = ffn;
  config.sequence = 16;
  config.vocab = vocab;
  return complete_model_config(config).value();
}

TEST(DescribeTensorTest, DegreesDivideHeadsFfnAndVocabulary) {
  const ModelConfig config = config_of(12, 36, 60);
  for (const int64_t tensor : {1, 2, 3, 4, 6, 12}) {
    EXPECT_TRUE(check_tensor_degree(config, tensor).ok()) << tensor;
    // An accepted degree really works.
    ParameterTable table(describe_parameters(config), {.tensor = static_cast<int>(tensor)});
    EXPECT_EQ(table.at("embedding.token.weight").local_shape(), Shape({60 / tensor, 96}));
  }
  for (const int64_t tensor : {5, 8, 9, 24}) {
    const Status status = check_tensor_degree(config, tensor);
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find("write parallel.tensor = 1, 2, 3, 4, 6, 12 "),
              std::string::npos)
        << status.message();
  }
}

TEST(DescribeTensorTest, AMessageNamesTheKeyAndAValueThatWorks) {
  const auto message = [](const ModelConfig& config, int64_t tensor) {
    return check_tensor_degree(config, tensor).message();
  };
  EXPECT_EQ(message(config_of(6, 48, 64), 4),
            "parallel.tensor = 4 does not divide model.heads = 6: write parallel.tensor = 1, 2 "
            "(what divides heads, kv_heads, ffn and vocab), or model.heads = 8");
  EXPECT_NE(message(config_of(8, 50, 64), 4).find("model.ffn = 50: "), std::string::npos);
  EXPECT_NE(message(config_of(8, 64, 50257), 2).find("or model.vocab = 50258"), std::string::npos);
  EXPECT_EQ(message(config_of(8, 64, 64), 0), "parallel.tensor = 0: write 1 or more");
  ModelConfig grouped = config_of(8, 64, 64);
  grouped.kv_heads = 2;
  EXPECT_NE(message(grouped, 4).find("model.kv_heads = 2: write parallel.tensor = 1, 2 "),
            std::string::npos);
}

TEST(DescribeTensorTest, RowsAreDividedToo) {
  EXPECT_TRUE(check_tensor_rows(1, 12, 4).ok());
  EXPECT_TRUE(check_tensor_rows(3, 12, 9).ok());  // although 9 divides neither
  EXPECT_TRUE(check_tensor_rows(7, 13, 1).ok());
  const Status status = check_tensor_rows(3, 14, 4);
  EXPECT_EQ(status.code(), Code::kBadConfig);
  EXPECT_EQ(status.message(),
            "parallel.tensor = 4 does not divide the 42 rows of a microbatch (batch.microbatch = 3 "
            "sequences of 14 positions): write parallel.tensor = 1, 2, 3, or batch.microbatch = 4");
  EXPECT_EQ(check_tensor_rows(3, 14, 0).code(), Code::kBadConfig);
}

TEST(DescribeTensorTest, BytesSentFollowTheFormula) {
  const ModelConfig config = config_of(8, 64, 64);  // 2 layers, 64 channels
  EXPECT_EQ(tensor_bytes_sent(config, 32, 1, Recompute::kNone), 0);
  // Crossings of 3/4 of 32 x 64 floats: (1 + 1) + 2 (4 + 6) + 2, and so on.
  const int64_t crossing = 3 * 8 * 64 * 4, statistics = 24 * 3 * 32;
  const auto sent = [&](std::optional<Recompute> recompute) {
    return tensor_bytes_sent(config, 32, 4, recompute);
  };
  EXPECT_EQ(sent(Recompute::kNone), 24 * crossing + statistics);
  EXPECT_EQ(sent(Recompute::kAttention), 26 * crossing + statistics);
  EXPECT_EQ(sent(Recompute::kBlock), 30 * crossing + statistics);
  EXPECT_EQ(sent({}), 10 * crossing + statistics);
}

}  // namespace
}  // namespace leasehold
