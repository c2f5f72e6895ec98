#include "runtime/data/token_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

void write(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
  ASSERT_EQ(std::filesystem::file_size(path), content.size());
}

template <typename Token>
std::string token_file(const std::vector<Token>& tokens) {
  std::string content = make_token_header(static_cast<int64_t>(tokens.size()), sizeof(Token));
  content.append(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(Token));
  return content;
}

Result<TokenHeader> parse(const std::string& header, int64_t file_bytes) {
  return parse_token_header({reinterpret_cast<const uint8_t*>(header.data()), header.size()},
                            file_bytes, "t.bin");
}

std::string with_word(std::string header, size_t index, int32_t word) {
  std::memcpy(header.data() + 4 * index, &word, 4);
  return header;
}

void expect_bad(const Status& status, std::initializer_list<const char*> parts) {
  EXPECT_EQ(status.code(), Code::kBadData) << status.message();
  for (const char* part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
}

// A training lasts for weeks. If the file changes meanwhile, the run ends with a reason, not with
// SIGBUS.
TEST(TokenFile, AFileThatIsCutOrReplacedWhileItIsReadIsNamed) {
  const TemporaryDirectory directory;
  const std::string path = directory / "t.bin";
  write(path, token_file<uint16_t>(std::vector<uint16_t>(100000, 7)));
  const TokenFile file = TokenFile::open(posix_files(), path).value();
  std::vector<int32_t> out(10);
  ASSERT_TRUE(file.read(99990, out, 8).ok());
  std::filesystem::resize_file(path, 5000);
  EXPECT_TRUE(file.read(0, out, 8).ok());
  expect_bad(file.read(99990, out, 8), {path.c_str(), "replaced or cut"});
  expect_bad(file.digest().status(), {path.c_str(), "replaced or cut"});
  // A new file under the same name is another file.
  std::filesystem::remove(path);
  write(path, token_file<uint16_t>(std::vector<uint16_t>(100000, 9)));
  EXPECT_EQ(TokenFile::open(posix_files(), path).value().num_tokens(), 100000);
}

TEST(TokenHeader, IsLlmCs) {
  const std::string header = make_token_header(5, 2);
  int32_t words[256];
  ASSERT_EQ(header.size(), sizeof words);
  std::memcpy(words, header.data(), sizeof words);
  EXPECT_EQ(words[0], 20240520);
  EXPECT_EQ(words[1], 1);
  EXPECT_EQ(words[2], 5);
  EXPECT_TRUE(std::all_of(words + 3, words + 256, [](int32_t word) { return word == 0; }));
  const std::string wide = make_token_header(6, 4);
  std::memcpy(words, wide.data(), sizeof words);
  EXPECT_EQ(words[0], 20240801);
  EXPECT_EQ(words[1], 7);
  EXPECT_EQ(words[2], 6);
}

TEST(TokenHeader, GivesBackWhatWasWritten) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, (int64_t{1} << 31) - 1, int64_t{1} << 31,
                              (int64_t{1} << 32) + 3, int64_t{1} << 50}) {
    for (const int token_bytes : {2, 4}) {
      const auto header =
          parse(make_token_header(count, token_bytes), kTokenHeaderBytes + count * token_bytes);
      ASSERT_TRUE(header.ok()) << header.status().message();
      EXPECT_EQ(header.value().num_tokens, count);
      EXPECT_EQ(header.value().token_bytes, token_bytes);
    }
  }
}

TEST(TokenHeader, RefusesWhatDoesNotFit) {
  const std::string good = make_token_header(10, 2);
  ASSERT_TRUE(parse(good, 1044).ok());
  expect_bad(parse(good, 1042).status(), {"t.bin", "10 tokens", "18 bytes", "truncated"});
  expect_bad(parse(good, 1043).status(), {"truncated"});
  expect_bad(parse(good, 1045).status(), {"more than promised"});
  expect_bad(parse(good, 1046).status(), {"more than promised"});
  expect_bad(parse(good.substr(0, 1023), 1044).status(), {"t.bin", "too few", "prepare"});
  expect_bad(parse(good, 1000).status(), {"1000 bytes", "too few"});
  expect_bad(parse("", 0).status(), {"t.bin: this is empty"});
  expect_bad(parse(with_word(good, 0, 7), 1044).status(), {"7", "20240520", "20240801", "prepare"});
  expect_bad(parse(with_word(good, 1, 2), 1044).status(), {"version 2", "expected 1"});
  expect_bad(parse(with_word(good, 0, 20240801), 1044).status(), {"version 1", "expected 7"});
  // The product of these counts with the token size would overflow.
  expect_bad(parse(with_word(good, 2, -1), 1044).status(), {"4294967295 tokens", "truncated"});
  expect_bad(parse(with_word(good, 3, std::numeric_limits<int32_t>::min()), 1044).status(),
             {"truncated"});
  expect_bad(parse(with_word(good, 3, -1), 1044).status(), {"truncated"});
}

TEST(TokenFile, ReadsBothWidths) {
  TemporaryDirectory directory;
  write(directory / "narrow.bin", token_file<uint16_t>({0, 1, 65535, 7}));
  write(directory / "wide.bin", token_file<uint32_t>({0, 70000, 2147483647}));
  const TokenFile narrow = TokenFile::open(posix_files(), directory / "narrow.bin").value();
  EXPECT_EQ(narrow.num_tokens(), 4);
  EXPECT_EQ(narrow.token_bytes(), 2);
  std::vector<int32_t> out(3);
  ASSERT_TRUE(narrow.read(1, out, 65536).ok());
  EXPECT_EQ(out, (std::vector<int32_t>{1, 65535, 7}));
  const TokenFile wide = TokenFile::open(posix_files(), directory / "wide.bin").value();
  EXPECT_EQ(wide.token_bytes(), 4);
  ASSERT_TRUE(wide.read(0, out, int64_t{1} << 31).ok());
  EXPECT_EQ(out, (std::vector<int32_t>{0, 70000, 2147483647}));
  EXPECT_TRUE(wide.read(3, {}, 10).ok());
}

TEST(TokenFile, NamesAnIdOutsideTheVocabulary) {
  TemporaryDirectory directory;
  write(directory / "narrow.bin", token_file<uint16_t>({1, 2, 3, 300, 5}));
  write(directory / "wide.bin", token_file<uint32_t>({1, 4000000000u}));
  const TokenFile narrow = TokenFile::open(posix_files(), directory / "narrow.bin").value();
  std::vector<int32_t> out(3);
  EXPECT_TRUE(narrow.read(0, out, 4).ok());
  EXPECT_TRUE(narrow.read(2, out, 301).ok());
  expect_bad(narrow.read(2, out, 300),
             {"narrow.bin", "token 3 is 300", "model.vocab", "0 to 299", "prepare"});
  const TokenFile wide = TokenFile::open(posix_files(), directory / "wide.bin").value();
  out.resize(2);
  expect_bad(wide.read(0, out, int64_t{1} << 31), {"token 1 is 4000000000"});
}

TEST(TokenFile, RefusesReadsOutsideTheFile) {
  TemporaryDirectory directory;
  write(directory / "t.bin", token_file<uint16_t>({1, 2, 3}));
  const TokenFile file = TokenFile::open(posix_files(), directory / "t.bin").value();
  std::vector<int32_t> out(2);
  EXPECT_THROW((void)file.read(2, out, 10), StatusError);
  EXPECT_THROW((void)file.read(-1, out, 10), StatusError);
  EXPECT_THROW((void)file.read(std::numeric_limits<int64_t>::max(), out, 10), StatusError);
}

TEST(TokenFile, MissingTruncatedAndForeignFiles) {
  TemporaryDirectory directory;
  const auto missing = TokenFile::open(posix_files(), directory / "none.bin");
  EXPECT_EQ(missing.status().code(), Code::kMissingInput);
  EXPECT_NE(missing.status().message().find("none.bin"), std::string::npos);
  EXPECT_NE(missing.status().message().find("leasehold prepare"), std::string::npos);
  write(directory / "empty.bin", "");
  expect_bad(TokenFile::open(posix_files(), directory / "empty.bin").status(), {"empty.bin"});
  write(directory / "text.bin", std::string(2000, 'x'));
  expect_bad(TokenFile::open(posix_files(), directory / "text.bin").status(),
             {"text.bin", "not a token file"});
  const std::string whole = token_file<uint16_t>({1, 2, 3});
  write(directory / "cut.bin", whole.substr(0, whole.size() - 1));
  expect_bad(TokenFile::open(posix_files(), directory / "cut.bin").status(),
             {"cut.bin", "truncated"});
}

TEST(TokenFile, DigestOfASmallFileIsThatOfItsBytes) {
  TemporaryDirectory directory;
  const std::string content = token_file<uint16_t>({1, 2, 3});
  write(directory / "t.bin", content);
  EXPECT_EQ(TokenFile::open(posix_files(), directory / "t.bin").value().digest().value(),
            digest128(content.data(), content.size()));
}

// Above 64 MiB only the documented blocks count.
TEST(TokenFile, DigestOfALargeFileSamplesIt) {
  TemporaryDirectory directory;
  const std::string path = directory / "large.bin";
  const int64_t count = 40'000'001;
  const int64_t size = kTokenHeaderBytes + 2 * count;
  write(path, make_token_header(count, 2));
  std::filesystem::resize_file(path, static_cast<uintmax_t>(size));
  const auto digest = [&] { return TokenFile::open(posix_files(), path).value().digest().value(); };
  const auto poke = [&](int64_t offset) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(offset);
    file.put('\x01');
  };
  Digester expected;
  expected.update(make_token_header(count, 2));
  const std::string zeros(64 << 10, '\0');
  for (int i = 0; i < 1024; ++i) expected.update(zeros);
  const Digest128 original = digest();
  EXPECT_EQ(original, expected.finish());
  const int64_t stride = (size - kTokenHeaderBytes - (64 << 10)) / 1023;
  poke(kTokenHeaderBytes + (64 << 10) + 100);  // between the first two blocks
  ASSERT_GT(stride, (64 << 10) + 100);
  EXPECT_EQ(digest(), original);
  poke(size - 1);
  const Digest128 last = digest();
  EXPECT_NE(last, original);
  poke(kTokenHeaderBytes);
  EXPECT_NE(digest(), last);
}

}  // namespace
}  // namespace leasehold
