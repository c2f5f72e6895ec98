#include "runtime/checkpoint/checkpoint_info.h"

#include <gtest/gtest.h>
#include <set>

namespace leasehold {
namespace {

TEST(CheckpointInfo, LineagesAreNew) {
  std::set<std::string> names;
  for (int i = 0; i < 100; ++i) names.insert(new_lineage());
  EXPECT_EQ(names.size(), 100u);
  for (const std::string& name : names) {
    EXPECT_EQ(name.size(), 32u);
    EXPECT_EQ(name.find_first_not_of("0123456789abcdef"), std::string::npos) << name;
  }
}

TEST(CheckpointInfo, AForkSaysWhereItCameFrom) {
  CheckpointInfo from;
  from.lineage = "old";
  from.step = 40;
  CheckpointInfo info = from;
  start_fork(info, from);
  EXPECT_NE(info.lineage, "old");
  EXPECT_EQ(info.parent_lineage, "old");
  EXPECT_EQ(info.fork_step, 40);
}

TEST(CheckpointInfo, ModelFilesGoWithTheirTokenizer) {
  CheckpointInfo from;
  from.tokenizer_json = "{1}";
  from.model_files = {{"generation_config.json", "{}"}};
  CheckpointInfo alike, plain, other;
  alike.tokenizer_json = "{1}";
  other.tokenizer_json = "{2}";
  EXPECT_FALSE(inherit_model_files(alike, from, true));
  EXPECT_EQ(alike.model_files, from.model_files);
  EXPECT_FALSE(inherit_model_files(plain, from, false));  // its data names no tokenizer
  EXPECT_EQ(plain.tokenizer_json, from.tokenizer_json);
  EXPECT_EQ(plain.model_files, from.model_files);
  EXPECT_TRUE(inherit_model_files(other, from, false));
  EXPECT_EQ(other.tokenizer_json, "{2}");
  EXPECT_TRUE(other.model_files.empty());
  EXPECT_FALSE(inherit_model_files(other, CheckpointInfo(), false));  // nothing was left behind
}

TEST(CheckpointInfo, IdentityListsEveryDifference) {
  CheckpointInfo info;
  info.step = 12;
  info.identity = {{"batch.sequences", "8"}, {"model.hidden", "64"}, {"run.seed", "1"}};
  EXPECT_TRUE(check_identity(info, info.identity).ok());
  const Status status = check_identity(
      info, {{"batch.sequences", "16"}, {"model.hidden", "64"}, {"optimizer.lr", "0.1"}});
  EXPECT_EQ(status.code(), Code::kBadConfig);
  for (const char* part :
       {"batch.sequences: '8' in the checkpoint, '16' in the job",
        "optimizer.lr: not set in the checkpoint, '0.1' in the job",
        "run.seed: '1' in the checkpoint, not set in the job", "--fork", "step 12"}) {
    EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
  }
  EXPECT_EQ(status.message().find("model.hidden"), std::string::npos);
}

}  // namespace
}  // namespace leasehold
