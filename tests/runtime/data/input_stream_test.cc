#include "runtime/data/input_stream.h"

#include <gtest/gtest.h>

#include "tests/runtime/data/packed_files.h"
#include "tests/support/faulty_files.h"

namespace leasehold {
namespace {

std::string sample_text(size_t bytes) {
  std::string text;
  for (uint32_t i = 0; text.size() < bytes; ++i) text += fmt::format("{} ", i * 2654435761U);
  return text.substr(0, bytes);
}

class InputStreamTest : public ::testing::Test {
 protected:
  // Reads the whole content, `count` bytes at a time.
  Result<std::string> read(const std::string& content, std::optional<Packing> packing,
                           int64_t count = 1000) {
    files_.set_content("f", content);
    LEASEHOLD_ASSIGN_OR_RETURN(InputStream stream,
                               InputStream::open(files_, "f", "the file", packing));
    std::string out;
    while (true) {
      LEASEHOLD_ASSIGN_OR_RETURN(const int64_t got, stream.read(count, out));
      if (got < count) break;
    }
    EXPECT_EQ(stream.file_bytes(), static_cast<int64_t>(content.size()));
    return out;
  }
  FaultyFiles files_;
};

TEST_F(InputStreamTest, GivesWhatWasPacked) {
  for (const size_t bytes : {1, 999, 1000, 1001, 300000}) {
    const std::string text = sample_text(bytes);
    EXPECT_EQ(read(text, std::nullopt).value(), text);
    for (const Packing packing : kAllPackings) {
      const std::string content = packed(packing, text);
      EXPECT_EQ(find_packing(content), packing);
      EXPECT_EQ(read(content, packing).value(), text) << packing_name(packing) << " " << bytes;
      EXPECT_EQ(
          measure_unpacked(files_, "f", "f", packing, [](int64_t) { return ok_status(); }).value(),
          static_cast<int64_t>(bytes));
    }
  }
  // The content is much larger than its packed form: the decoder produces many times without
  // consuming.
  const std::string zeros(1 << 20, 'a');
  for (const Packing packing : kAllPackings)
    EXPECT_EQ(read(packed(packing, zeros), packing, 4096).value(), zeros) << packing_name(packing);
}

TEST_F(InputStreamTest, GoesOnInTheNextMember) {
  for (const Packing packing : kAllPackings) {
    const std::string two = packed(packing, "one\n") + packed(packing, "two\n");
    EXPECT_EQ(read(two, packing, 3).value(), "one\ntwo\n") << packing_name(packing);
    EXPECT_EQ(read(two + std::string(512, '\0'), packing).value(), "one\ntwo\n");
    EXPECT_EQ(read(packed(packing, ""), packing).value(), "");
  }
}

TEST_F(InputStreamTest, NamesDamageAndItsPlace) {
  const std::string text = sample_text(100000);
  for (const Packing packing : kAllPackings) {
    const std::string good = packed(packing, text);
    for (const size_t left : {good.size() - 1, good.size() / 2, size_t{20}}) {
      const Status status = read(good.substr(0, left), packing).status();
      EXPECT_EQ(status.code(), Code::kBadData) << packing_name(packing) << " " << left;
      EXPECT_NE(status.message().find("input the file: "), std::string::npos);
      EXPECT_NE(status.message().find("cut off"), std::string::npos) << status.message();
      EXPECT_NE(status.message().find(fmt::format("of {}", left)), std::string::npos)
          << status.message();
    }
    // Every flipped bit is detected: each of these formats has a checksum.
    for (const size_t at : {good.size() / 3, good.size() / 2, good.size() - 5}) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 4);
      EXPECT_EQ(read(bad, packing).status().code(), Code::kBadData)
          << packing_name(packing) << " " << at << " of " << good.size();
    }
    EXPECT_EQ(read(good + "garbage behind", packing).status().code(), Code::kBadData);
  }
}

TEST(Packing, IsToldByTheFirstBytesAndNamedBySuffix) {
  EXPECT_EQ(find_packing("BZh is no text of bzip2's"), std::nullopt);
  EXPECT_EQ(find_packing(""), std::nullopt);
  EXPECT_EQ(unpacked_name("d/a.jsonl.gz"), "d/a.jsonl");
  EXPECT_EQ(unpacked_name("a.zst"), "a");
  EXPECT_EQ(unpacked_name("a.txt"), "a.txt");
}

}  // namespace
}  // namespace leasehold
