#include "runtime/data/unicode_nfc.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include "runtime/base/random.h"

namespace leasehold {
namespace {

std::string whole_nfc(const std::string& text) {
  utf8proc_uint8_t* made = nullptr;
  const auto bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &made,
                   static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  std::string normal(reinterpret_cast<const char*>(made), static_cast<size_t>(bytes));
  std::free(made);
  return normal;
}

TEST(Nfc, ComposesAndLeavesAlone) {
  const NfcNormalizer nfc;
  std::string room;
  EXPECT_EQ(nfc.normalize("e\xCC\x81t\xC3\xA9", room), "\xC3\xA9t\xC3\xA9");
  EXPECT_EQ(nfc.normalize("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", room), "\xEA\xB0\x81");
  EXPECT_EQ(nfc.normalize("\xE2\x84\xAB", room), "\xC3\x85");  // Angstrom
  EXPECT_EQ(nfc.normalize("a\xCC\x81\xCC\xA3", room),
            "\xE1\xBA\xA1\xCC\x81");  // the marks are reordered
  EXPECT_EQ(nfc.normalize("e\xFF\xCC\x81", room), "e\xFF\xCC\x81");
  EXPECT_EQ(nfc.normalize("\xCC\x81", room), "\xCC\x81");
  EXPECT_EQ(nfc.normalize("", room), "");
  // U+0EBA has been a mark that is reordered since Unicode 12.
  EXPECT_EQ(nfc.normalize("a\xD6\x9F\xE0\xBA\xBA", room), "a\xD6\x9F\xE0\xBA\xBA");
  EXPECT_EQ(nfc.normalize("\xE0\xA2\x98\xCC\xA3", room), "\xE0\xA2\x98\xCC\xA3");
  const std::string plain = "plain \xE4\xBB\x96 \xF0\x9F\x98\x80";
  EXPECT_EQ(nfc.normalize(plain, room).data(), plain.data());
}

TEST(Nfc, StableCharactersDoNotJoin) {
  const NfcNormalizer nfc;
  for (const char* stable : {"a", " ", "\n", "\xC3\xA9", "\xE4\xBB\x96", "\xEA\xB0\x80"})
    EXPECT_TRUE(nfc.is_stable(stable)) << stable;
  for (const char* other :
       {"\xCC\x81", "\xE2\x84\xAB", "\xE1\x85\xA1", "\xE1\x86\xA8", "\xE3\x82\x99"})
    EXPECT_FALSE(nfc.is_stable(other)) << other;
}

TEST(Nfc, IsTheLibrarysOfTheWholeText) {
  const NfcNormalizer nfc;
  const RandomSite site = RandomSite::make(11, "nfc");
  uint64_t drawn = 0;
  const auto below = [&](int32_t n) {
    return static_cast<int32_t>(site.uniform(drawn++) * static_cast<double>(n));
  };
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) {
      constexpr std::array<int32_t, 6> kFrom = {0x61, 0xC0, 0x300, 0x1100, 0x1E00, 0};
      constexpr std::array<int32_t, 6> kCount = {20, 200, 0x70, 0x100, 0x200, 0xD000};
      const auto kind = static_cast<size_t>(below(6));
      const int32_t code = kFrom[kind] + below(kCount[kind]);
      const auto* about = utf8proc_get_property(code);
      // Ranges where marks are rare and new, or separate blocks.
      const bool listed = code > 0x800 && about->combining_class != 0 && code < 0x20000 &&
                          !(code >= 0x1DC0 && code < 0x1DF6) && code != 0x3099;
      if (!utf8proc_codepoint_valid(code) || listed) continue;
      std::array<utf8proc_uint8_t, 4> bytes{};
      const auto length = utf8proc_encode_char(code, bytes.data());
      text.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(length));
    }
    std::string room;
    ASSERT_EQ(nfc.normalize(text, room), whole_nfc(text)) << round;
  }
}

}  // namespace
}  // namespace leasehold
