#include "launch/plan/published_rows.h"

#include <gtest/gtest.h>

#include "tests/launch/plan/measured_rows.h"

namespace leasehold {
namespace {

const std::string kHead =
    "id\tgpu\tnum_gpus\tprecision\tlayers\thidden\theads\tvocab\tseq\tgbs\tmodel\tffn\ttp\tpp\tvpp"
    "\tzero\trecompute\tdate\tfamily\tstep_s\ttok_s_gpu\n";
const std::string kRow =
    "a\tH100\t16\tFP8\t32\t4096\t32\t128256\t8192\t64\tllama3-8b\t14336\t2\t4\t\tz1\t\t2025\t\t"
    "3.5\t\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

PublishedRow row_of(const std::string& text) {
  const PublishedRows read = parse_published_rows(kHead + text, "t.tsv").value();
  if (!read.refused.empty()) throw StatusError(read.refused.front().status);
  return read.rows.front();
}

void expect_refused(const std::string& text, const std::string& part) {
  const PublishedRows read = parse_published_rows(kHead + text, "t.tsv").value();
  ASSERT_EQ(read.refused.size(), 1) << text;
  EXPECT_EQ(read.refused.front().id, "a");
  EXPECT_EQ(read.refused.front().status.code(), Code::kBadData);
  EXPECT_NE(read.refused.front().status.message().find(part), std::string::npos)
      << read.refused.front().status.message();
}

TEST(PublishedRows, ReadsAStep) {
  const PublishedRow row = row_of(kRow);
  EXPECT_EQ(row.question.precision, Precision::kFp8);
  EXPECT_EQ(row.question.data, 2);
  EXPECT_EQ(row.question.microbatches, 32);
  EXPECT_EQ(row.question.chunks, 4);  // not said: two layers in each
  EXPECT_TRUE(row.question.model.gated);
  EXPECT_EQ(row.question.model.kv_heads, 32);
  EXPECT_EQ(row.question.recomputing, Recomputing::kUnknown);
  EXPECT_DOUBLE_EQ(*row.step_s, 3.5);
}

TEST(PublishedRows, TokensASecondGiveTheStep) {
  const PublishedRow row = row_of(replaced(kRow, "3.5\t\n", "\t1000\n"));
  EXPECT_DOUBLE_EQ(*row.step_s, 64.0 * 8192 / (1000.0 * 16));
}

TEST(PublishedRows, ANoteTellsTheSlowerH100) {
  const auto part_of = [](const std::string& gpu, const std::string& note) {
    const std::string text =
        replaced(replaced(kHead, "\n", "\tnote\n") + replaced(kRow, "\n", "\t" + note + "\n"),
                 "\tH100\t", "\t" + gpu + "\t");
    return parse_published_rows(text, "t.tsv")->rows.front().part;
  };
  EXPECT_EQ(part_of("H100", ""), "H100");
  EXPECT_EQ(part_of("H100", "96 GB HBM2e, eager"), "H100-HBM2e");
  EXPECT_EQ(part_of("H200", "HBM2e"), "H200");
}

TEST(PublishedRows, ShardingAndRecomputing) {
  const PublishedRow row =
      row_of(replaced(replaced(kRow, "z1\t\t", "fsdp4\tfull\t"), "\t2\t4\t", "\t\t\t"));
  EXPECT_EQ(row.question.sharding, Sharding::kWeights);
  EXPECT_EQ(row.question.weight_shards(), 4);
  EXPECT_EQ(row.question.recomputing, Recomputing::kLayers);
  EXPECT_FALSE(row.question.software.recomputes_last_product);
  const PublishedRow odd = row_of(replaced(kRow, "z1\t\t", "z1\tmagic\t"));
  ASSERT_EQ(odd.notices.size(), 1);
  EXPECT_NE(odd.notices.front().find("magic"), std::string::npos);
}

TEST(PublishedRows, SoftwareHasItsTime) {
  EXPECT_EQ(software_of("2021").attention, AttentionKernel::kUnfused);
  EXPECT_FALSE(software_of("2022").overlaps_tensor);
  EXPECT_EQ(software_of("2023-24").attention, AttentionKernel::kFlash1);
  EXPECT_EQ(software_of("2024").attention, AttentionKernel::kFlash2);
  EXPECT_EQ(software_of("2024-07").attention, AttentionKernel::kFastest);
  EXPECT_EQ(software_of("v24.11.1").attention, AttentionKernel::kFastest);
  EXPECT_EQ(software_of("26.06").attention, AttentionKernel::kFastest);
  EXPECT_EQ(software_of("v5.1").attention, AttentionKernel::kFastest);
  EXPECT_EQ(software_of("").attention, AttentionKernel::kFastest);
}

TEST(PublishedRows, ARowThatCannotBeToldIsRefusedAlone) {
  expect_refused(replaced(kRow, "\t32\t4096", "\t\t4096"), "layers is empty");
  expect_refused(replaced(kRow, "\t64\t", "\t-64\t"), "gbs is '-64'");
  expect_refused(replaced(kRow, "\tFP8", "\tint8"), "precision is 'int8'");
  expect_refused(replaced(kRow, "\t2\t4\t", "\t3\t4\t"), "does not divide num_gpus 16");
  expect_refused(replaced(kRow, "2025\t\t", "2025\tmoe\t"), "family 'moe'");
  expect_refused(replaced(kRow, "3.5", "soon"), "step_s is 'soon'");
  const std::string both = kHead + replaced(kRow, "\tFP8", "\tint8") + replaced(kRow, "a\t", "b\t");
  const PublishedRows read = parse_published_rows(both, "t.tsv").value();
  EXPECT_EQ(read.rows.size(), 1);
  EXPECT_EQ(read.refused.size(), 1);
}

TEST(PublishedRows, ATableThatIsBrokenIsRefused) {
  const auto message = [](const std::string& text) {
    const Status status = parse_published_rows(text, "t.tsv").status();
    EXPECT_EQ(status.code(), Code::kBadData);
    return status.message();
  };
  EXPECT_NE(message("").find("is empty"), std::string::npos);
  EXPECT_NE(message("id\tgpu\n").find("no column 'num_gpus'"), std::string::npos);
  EXPECT_NE(message("id\tid\n").find("stands twice"), std::string::npos);
  EXPECT_NE(message(kHead + kRow + kRow).find("t.tsv:3: id 'a' stands twice"), std::string::npos);
  EXPECT_NE(message(kHead + replaced(kRow, "\n", "\tx\ty\n")).find("cells"), std::string::npos);
  EXPECT_NE(message(kHead + kRow.substr(1)).find("id is empty"), std::string::npos);
}

TEST(PublishedRows, TheRowsThatAreKeptAreFine) { EXPECT_EQ(measured_rows().size(), 371); }

}  // namespace
}  // namespace leasehold
