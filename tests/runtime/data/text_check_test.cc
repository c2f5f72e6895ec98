#include "runtime/data/text_check.h"

#include <gtest/gtest.h>
#include <vector>

namespace leasehold {
namespace {

using namespace std::string_literals;

Status check_in_pieces(const std::string& text, size_t piece_bytes) {
  TextCheck check("a.txt");
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    const Status status = check.add(std::string_view(text).substr(at, piece_bytes));
    if (!status.ok()) return status;
  }
  return check.finish();
}

TEST(TextCheck, TakesUtf8HoweverItIsCut) {
  const std::string text =
      "plain ASCII, long enough for words of eight\n\xC3\xA9t\xC3\xA9 \xE2\x98\xBA "
      "\xF0\x9F\x98\x80\t\x1B[31m\x7F \xED\x9F\xBF \xEF\xBF\xBF \xF4\x8F\xBF\xBF end";
  for (size_t piece = 1; piece <= text.size(); ++piece)
    EXPECT_TRUE(check_in_pieces(text, piece).ok()) << piece;
}

TEST(TextCheck, NamesTheByteItsOffsetAndLine) {
  struct Case {
    std::string bytes;
    std::string what;
    size_t behind = 0;  // bytes before the bad one
  };
  const std::vector<Case> cases = {
      {"\xF6 and", "the byte 0xF6"},          // Latin-1
      {"\x80 and", "the byte 0x80"},          // Windows-1252
      {"\xC3 and", "the byte 0xC3"},          // a character without its end
      {"\xC0\xAF", "the byte 0xC0"},          // overlong
      {"\xE0\x80\xAF", "the byte 0xE0"},      // overlong
      {"\xED\xA0\x80", "the byte 0xED"},      // half of a surrogate pair
      {"\xF4\x90\x80\x80", "the byte 0xF4"},  // beyond Unicode
      {"\xF8\x88\x80\x80\x80", "the byte 0xF8"},
      {"\xFF", "the byte 0xFF"},
      {"\0 and"s, "a NUL"},
      {"\xE2\x98\xBA\xE2\x98 and", "the byte 0xE2", 3},
  };
  const std::string before = "one\ntwo \xC3\xA9\nthree ";
  for (const Case& tried : cases) {
    const std::string text = before + tried.bytes + "\nmore";
    for (const size_t piece : {1, 2, 3, 5, 8, 100}) {
      const Status status = check_in_pieces(text, piece);
      EXPECT_EQ(status.code(), Code::kBadData) << tried.what;
      const std::string place = fmt::format("input a.txt: {} at offset {} (line 3)", tried.what,
                                            before.size() + tried.behind);
      EXPECT_NE(status.message().find(place), std::string::npos)
          << place << " is not in: " << status.message();
    }
  }
}

TEST(TextCheck, NoticesAnEndInsideACharacter) {
  for (const std::string& bytes : {"\xC3"s, "\xE2\x98"s, "\xF0\x9F\x98"s, "\xED"s}) {
    const Status status = check_in_pieces("abc\n" + bytes, 3);
    EXPECT_NE(status.message().find("ends inside a character, at offset 4 (line 2)"),
              std::string::npos)
        << status.message();
  }
}

std::string wide(const std::string& text, size_t bytes, bool little) {
  std::string out;
  for (const char c : text) {
    std::string unit(bytes, '\0');
    unit[little ? 0 : bytes - 1] = c;
    out += unit;
  }
  return out;
}

TEST(FindEncoding, ByMarkAndByZeros) {
  EXPECT_EQ(find_encoding("\xFF\xFEh\0"s), "UTF-16, little-endian");
  EXPECT_EQ(find_encoding("\xFE\xFF\0h"s), "UTF-16, big-endian");
  EXPECT_EQ(find_encoding("\xFF\xFE\0\0h\0\0\0"s), "UTF-32, little-endian");
  EXPECT_EQ(find_encoding("\0\0\xFE\xFF\0\0\0h"s), "UTF-32, big-endian");
  const std::string text = "In the beginning";
  EXPECT_EQ(find_encoding(wide(text, 2, true)), "UTF-16, little-endian");
  EXPECT_EQ(find_encoding(wide(text, 2, false)), "UTF-16, big-endian");
  EXPECT_EQ(find_encoding(wide(text, 4, true)), "UTF-32, little-endian");
  EXPECT_EQ(find_encoding(wide(text, 4, false)), "UTF-32, big-endian");
  // In Cyrillic text only spaces have zeros.
  EXPECT_EQ(find_encoding("\x12\x04 \0\x3D\x04\x30\x04\x47\x04\x30\x04\x3B\x04 \0"s),
            "UTF-16, little-endian");
  EXPECT_EQ(find_encoding("\x1B$B%F"), "ISO-2022-JP");
  for (const std::string& plain :
       {""s, text, "\xEF\xBB\xBFh"s, "\xC3\xA9t\xC3\xA9 and more"s, std::string(64, '\0'),
        "\x01\0\x02\x03\0\0\x04\0\x05\x06\0\x07"s})
    EXPECT_EQ(find_encoding(plain), "") << plain;
  EXPECT_EQ(iconv_name("UTF-16, big-endian"), "UTF-16BE");
  EXPECT_EQ(iconv_name("ISO-2022-JP"), "ISO-2022-JP");
}

}  // namespace
}  // namespace leasehold
