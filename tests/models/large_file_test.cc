// Tests offsets and sizes beyond 2 and 4 GiB, in a sparse file that takes no room.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "models/foreign_weights.h"
#include "runtime/base/half_floats.h"
#include "runtime/checkpoint/safetensors.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

TEST(LargeFile, TensorsBeyondFourGiBAreFoundAndRead) {
  TemporaryDirectory directory;
  const std::string path = directory / "model.safetensors";
  // A table of 5 GiB, of which only the last row is written, and a tensor after it.
  constexpr int64_t kColumns = 1024, kRows = 5 * kGiB / (2 * kColumns), kTail = 7;
  const std::vector<SafetensorsTensor> tensors = {
      {"table", "BF16", {kRows, kColumns}, 0, 5 * kGiB},
      {"tail", "F32", {kTail}, 5 * kGiB, 5 * kGiB + 4 * kTail}};
  const std::string header = encode_safetensors_header(tensors, {}).value();
  std::vector<uint16_t> row(kColumns);
  std::vector<float> tail(kTail);
  for (size_t i = 0; i < row.size(); ++i) row[i] = float_to_bf16(static_cast<float>(i % 128 + 1));
  for (size_t i = 0; i < tail.size(); ++i) tail[i] = static_cast<float>(i) + 0.5F;
  {
    std::ofstream file(path, std::ios::binary);
    file << header;
    file.seekp(std::ssize(header) + 5 * kGiB - 2 * kColumns);
    file.write(reinterpret_cast<const char*>(row.data()), 2 * kColumns);
    file.write(reinterpret_cast<const char*>(tail.data()), 4 * kTail);
    file.close();
    if (!file) GTEST_SKIP() << "the file system of " << directory.path() << " takes no 5 GiB file";
  }
  struct stat about {};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  if (about.st_blocks * 512 > kGiB)
    GTEST_SKIP() << "the file system of " << directory.path() << " has no sparse files";

  ForeignWeights weights;
  ASSERT_TRUE(weights.add_safetensors(posix_files(), path).ok());
  const auto table = weights.find("table", {kRows, kColumns}).value();
  std::vector<float> values(kColumns + 1);
  ASSERT_TRUE(weights.read(table, (kRows - 1) * kColumns - 1, kColumns + 1, values.data()).ok());
  EXPECT_EQ(values[0], 0);
  for (int64_t i = 0; i < kColumns; ++i)
    EXPECT_EQ(values[static_cast<size_t>(i + 1)], static_cast<float>(i % 128 + 1));
  const auto behind = weights.find("tail", {kTail}).value();
  ASSERT_TRUE(weights.read(behind, 0, kTail, values.data()).ok());
  for (size_t i = 0; i < tail.size(); ++i) EXPECT_EQ(values[i], tail[i]);

  // Cut the file by 4 GiB, which 32 bits would not notice.
  std::filesystem::resize_file(path, static_cast<uintmax_t>(about.st_size - 4 * kGiB));
  ForeignWeights cut;
  const Status status = cut.add_safetensors(posix_files(), path);
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("truncated"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace leasehold
