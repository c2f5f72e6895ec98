#include "runtime/data/megatron_index.h"

#include <gtest/gtest.h>

#include "tests/runtime/data/megatron_files.h"

namespace leasehold {
namespace {

std::span<const uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Result<MegatronIndex> parse_index(const std::string& idx, size_t bin_bytes) {
  return MegatronIndex::parse(bytes_of(idx), static_cast<int64_t>(bin_bytes), "d.idx");
}

template <typename Number>
std::string with_number(std::string idx, size_t offset, Number number) {
  std::memcpy(idx.data() + offset, &number, sizeof number);
  return idx;
}

void expect_bad_index(const Status& status, std::initializer_list<const char*> parts) {
  EXPECT_EQ(status.code(), Code::kBadData) << status.message();
  EXPECT_NE(status.message().find("d.idx"), std::string::npos) << status.message();
  for (const char* part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
}

template <typename Token>
void expect_read(uint8_t dtype) {
  const MegatronFiles files = megatron_files<Token>(dtype, {{1, 2, 3}, {}, {4}, {5, 127}}, {0, 2});
  const MegatronIndex index = parse_index(files.idx, files.bin.size()).value();
  EXPECT_EQ(index.num_sequences(), 4);
  EXPECT_EQ(index.num_documents(), 2);
  EXPECT_EQ(index.num_tokens(), 6);
  EXPECT_EQ(index.document_begin(0), 0);
  EXPECT_EQ(index.document_begin(1), 3);
  EXPECT_EQ(index.document_begin(2), 6);
  std::vector<int32_t> tokens(4);
  ASSERT_TRUE(index.read(bytes_of(files.bin), 2, tokens, 128, "d.bin").ok());
  EXPECT_EQ(tokens, (std::vector<int32_t>{3, 4, 5, 127}));
  const Status status = index.read(bytes_of(files.bin), 2, tokens, 127, "d.bin");
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("d.bin: token 5"), std::string::npos) << status.message();
}

TEST(MegatronIndex, ReadsEveryIntegerType) {
  expect_read<uint8_t>(1);
  expect_read<int8_t>(2);
  expect_read<int16_t>(3);
  expect_read<int32_t>(4);
  expect_read<int64_t>(5);
  expect_read<uint16_t>(8);
}

TEST(MegatronIndex, NegativeAndHugeTokensAreNoIds) {
  for (const int64_t token : {int64_t{-1}, int64_t{1} << 40, INT64_MIN}) {
    const MegatronFiles files = megatron_files<int64_t>(5, {{token}}, {0});
    const MegatronIndex index = parse_index(files.idx, files.bin.size()).value();
    std::vector<int32_t> out(1);
    EXPECT_FALSE(index.read(bytes_of(files.bin), 0, out, int64_t{1} << 31, "d.bin").ok());
  }
}

TEST(MegatronIndex, HostileIndicesAreRefused) {
  const MegatronFiles files = megatron_files<uint16_t>(8, {{1, 2, 3}, {4}, {5, 6}}, {0, 2});
  const size_t bin = files.bin.size();
  const std::string& good = files.idx;
  ASSERT_TRUE(parse_index(good, bin).ok());
  const size_t lengths = 34, pointers = lengths + 12, documents = pointers + 24;
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(parse_index(good.substr(0, size), bin).status().code(), Code::kBadData) << size;
  }
  expect_bad_index(parse_index(good + "x", bin).status(), {"do not fit"});
  expect_bad_index(parse_index(with_number(good, 0, 'N'), bin).status(), {"not a Megatron index"});
  expect_bad_index(parse_index(with_number<uint64_t>(good, 9, 2), bin).status(), {"version 2"});
  for (const uint8_t dtype : {0, 6, 7, 9, 255}) {
    expect_bad_index(parse_index(with_number(good, 17, dtype), bin).status(), {"dtype", "integer"});
  }
  for (const uint64_t count : {uint64_t{0}, uint64_t{2}, uint64_t{4}, UINT64_MAX, uint64_t{1} << 62,
                               UINT64_MAX / 12 + 1, UINT64_MAX / 8 + 1}) {
    expect_bad_index(parse_index(with_number(good, 18, count), bin).status(), {"do not fit"});
    expect_bad_index(parse_index(with_number(good, 26, count), bin).status(), {"do not fit"});
  }
  expect_bad_index(parse_index(with_number<int32_t>(good, lengths, -1), bin).status(),
                   {"sequence 0", "-1 tokens"});
  expect_bad_index(parse_index(with_number<int32_t>(good, lengths, 7), bin).status(),
                   {"sequence 0", "7 tokens"});
  expect_bad_index(parse_index(with_number<int32_t>(good, lengths, INT32_MAX), bin).status(),
                   {"sequence 0"});
  expect_bad_index(parse_index(with_number<int32_t>(good, lengths, 2), bin).status(),
                   {"sequence 1", "byte 6"});
  for (const int64_t pointer : {int64_t{-6}, int64_t{0}, int64_t{7}, INT64_MAX, INT64_MIN}) {
    expect_bad_index(parse_index(with_number(good, pointers + 8, pointer), bin).status(),
                     {"sequence 1"});
  }
  expect_bad_index(parse_index(good, bin + 2).status(), {"fill 12 bytes", "14"});
  expect_bad_index(parse_index(good, bin - 2).status(), {"sequence 2"});
  expect_bad_index(parse_index(with_number<int64_t>(good, documents, 1), bin).status(),
                   {"document entry 0"});
  expect_bad_index(parse_index(with_number<int64_t>(good, documents + 8, 4), bin).status(),
                   {"document entry 1"});
  expect_bad_index(parse_index(with_number<int64_t>(good, documents + 8, -1), bin).status(),
                   {"document entry 1"});
  expect_bad_index(parse_index(with_number<int64_t>(good, documents + 16, 1), bin).status(),
                   {"document entry 2"});
  expect_bad_index(parse_index(with_number<int64_t>(good, documents + 16, 2), bin).status(),
                   {"last document"});
}

}  // namespace
}  // namespace leasehold
