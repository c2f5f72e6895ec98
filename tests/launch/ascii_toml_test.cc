// Tests that characters beyond ASCII keep their meaning in every kind of TOML string on their way
// to the library, and are refused elsewhere.
#include "launch/ascii_toml.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>
#include <variant>

#include "launch/job_toml.h"

namespace leasehold {
namespace {

std::string utf8(uint32_t code) {
  const auto tail = [&](int shift) { return static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(0)};
  if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code >> 18), tail(12), tail(6), tail(0)};
}

bool is_surrogate(uint32_t code) { return code >= 0xD800 && code < 0xE000; }

// Returns the value of `x`, a string, and the line where it begins.
std::string value_in(const std::string& text) {
  const auto entries = read_job_toml("[run]\n" + text, "job.toml");
  if (!entries.ok()) return "error: " + entries.status().message();
  const auto* value = std::get_if<std::string>(&entries->at(0).value.value);
  return value == nullptr ? "error: no string" : *value;
}

bool is_all_ascii(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

TEST(AsciiToml, LeavesAsciiAlone) {
  for (const std::string text : {"", "x = 'a\\b'  # \"c\n", "not ''' TOML \"", "\r\n\x01\x7F"}) {
    EXPECT_EQ(toml_in_ascii(text, "f").value(), text);
  }
}

TEST(AsciiToml, KeepsEveryCharacterInEveryKindOfString) {
  std::string all;
  for (uint32_t code = 0x80; code < 0x110000; code += code < 0x3100 ? 1 : 61) {
    if (!is_surrogate(code)) all += utf8(code);
  }
  for (const char* quotes : {"\"", "'", "\"\"\"", "'''"}) {
    EXPECT_EQ(value_in(fmt::format("x = {0}{1}{0}  # {1}\n", quotes, all)), all) << quotes;
    EXPECT_TRUE(is_all_ascii(
        toml_in_ascii(fmt::format("x = {0}{1}{0}  # {1}\n", quotes, all), "f").value()));
  }
}

TEST(AsciiToml, RefusesEveryCharacterElsewhere) {
  for (uint32_t code = 0x80; code < 0x110000; code += code < 0x500 ? 1 : 97) {
    if (is_surrogate(code)) continue;
    for (const std::string before : {"", "x", "x = ", "x = 1", "x = 'a'", "x = \"\"", "x = \"\\",
                                     "'''a''' # \"\n ", "x = 'open\n"}) {
      const Status refused = toml_in_ascii(before + utf8(code), "job.toml").status();
      ASSERT_EQ(refused.code(), Code::kBadConfig) << before << code;
      const auto line = 1 + std::count(before.begin(), before.end(), '\n');
      ASSERT_TRUE(refused.message().starts_with(fmt::format("job.toml:{}: not TOML", line)))
          << refused.message();
    }
  }
  EXPECT_EQ(
      toml_in_ascii("\n\npr\xC3\xA4is = 1", "job.toml").status().message(),
      "job.toml:3: not TOML: the character \xC3\xA4 (U+00E4) is allowed in strings and comments "
      "only");
}

TEST(AsciiToml, RefusesWhatIsNotUtf8WithTheLine) {
  for (const char* bytes : {"\xFF", "\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"}) {
    const Status refused =
        toml_in_ascii(fmt::format("# \xC3\xA4\nx = '{}'\n", bytes), "f").status();
    EXPECT_EQ(refused.code(), Code::kBadConfig);
    EXPECT_EQ(refused.message(), "f:2: not TOML: this line is not UTF-8 text");
  }
}

TEST(AsciiToml, KeepsQuotesBackslashesAndLines) {
  const std::string a = "\xC3\xA4";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"'" + a + "\\n\"\\'", a + "\\n\"\\"},
      {"'C:\\" + a + "'", "C:\\" + a},
      {"\"\\\"" + a + "\\\\\"", "\"" + a + "\\"},
      {"\"\\u00E4" + a + "\\t'\"", a + a + "\t'"},
      {"'''\n" + a + "\n'x' ''\\'''''", a + "\n'x' ''\\''"},
      {"\"\"\"\n" + a + " \"\" \\\n   " + a + "\"\"\"\"\"", a + " \"\" " + a + "\"\""},
      {"\"\"\"\r\n" + a + "\r\n\"\"\"",
       a + "\n"},  // the library reads each line end as a line feed
      {"'''" + a + "\"\"\"'''", a + "\"\"\""},
      {"''  # '" + a, ""},
      {"\"\"  # \"" + a, ""},
      {"\"#" + a + "\"", "#" + a},
  };
  for (const auto& [written, meant] : cases) {
    EXPECT_EQ(value_in("x = " + written + "\n"), meant) << written;
  }
  // Lines keep their numbers, also after strings of several lines and a byte order mark.
  const auto entries =
      read_job_toml("\xEF\xBB\xBF[run]\nx = '''\n" + a + "\n'''\n\n'\xC3\xB6' = 1\n", "f").value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].name, "\xC3\xB6");
  EXPECT_EQ(entries[1].line, 6);
}

// Writes a value in one of the four kinds. The kinds without escapes are used if they can hold it.
std::string written(const std::string& value, int kind) {
  std::string text;
  for (const char c : value) {
    if (c == '\\' || c == '"') {
      text += kind % 2 == 0 ? std::string("\\") + c : std::string(1, c);
    } else if (c == '\n' && kind == 0) {
      text += "\\n";
    } else if (c != '\'' || kind % 2 == 0) {
      if (c != '\n' || kind != 1) text += c;
    }
  }
  const char* const quotes[] = {"\"", "'", "\"\"\"\n", "'''\n"};
  return quotes[kind] + text + std::string(quotes[kind]).substr(0, kind < 2 ? 1 : 3);
}

TEST(AsciiToml, AnyStringMeansWhatItMeant) {
  const std::array<std::string, 9> pieces = {
      "a", "'", "\"", "\\", "\n", "#", " ", "\xC3\xA4", "\xF0\x9F\x99\x82"};
  std::mt19937 random(7);
  for (int i = 0; i < 2000; ++i) {
    std::string value;
    for (uint32_t k = random() % 12; k > 0; --k) value += pieces[random() % pieces.size()];
    const int kind = static_cast<int>(random() % 4);
    std::string meant = value;
    if (kind % 2 == 1) std::erase(meant, '\'');
    if (kind == 1) std::erase(meant, '\n');
    ASSERT_EQ(value_in("x = " + written(value, kind) + " # \xC3\xA4\n"), meant)
        << written(value, kind);
  }
}

}  // namespace
}  // namespace leasehold
