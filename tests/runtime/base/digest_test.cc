#include "runtime/base/digest.h"

#include <gtest/gtest.h>
#include <random>
#include <string>

namespace leasehold {
namespace {

std::string digest_of(const std::string& text) {
  return digest128(text.data(), text.size()).to_hex();
}

std::string noise(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

// The bytes of xxHash's own test vectors (xxhsum's sanity check, release 0.8).
std::string sanity_bytes(size_t size) {
  std::string bytes;
  uint64_t generator = 2654435761U;
  for (size_t i = 0; i < size; ++i) {
    bytes.push_back(static_cast<char>(generator >> 56));
    generator *= 11400714785074694797U;
  }
  return bytes;
}

TEST(Digest, KnownAnswersOfXxhash) {
  EXPECT_EQ(digest_of(""), "99aa06d3014798d86001c324468d497f");
  const std::pair<size_t, const char*> known[] = {
      {1, "a6cd5e9392000f6ac44bdff4074eecdb"},   {6, "082afe0b8162d12a3e7039bdda43cfc6"},
      {12, "6e3efd8fc7802b18061a192713f69ad9"},  {48, "a002ac4e5478227ef942219aed80f67b"},
      {222, "337e09641b948717f1aebd597cec6b3a"}, {512, "18d2d110dcc9bca1617e49599013cb6b"},
      {2367, "e89c0f6ff369b427cb37aeb9e5d361ed"}};
  for (const auto& [size, hex] : known)
    EXPECT_EQ(digest_of(sanity_bytes(size)), hex) << size << " bytes";
}

TEST(Digest, KnownAnswersOf64Bits) {
  const std::pair<size_t, uint64_t> known[] = {
      {0, 0x2d06800538d394c2},  {1, 0xc44bdff4074eecdb},   {6, 0x27b56a84cd2d7325},
      {24, 0xa3fe70bf9d3510eb}, {195, 0xcd94217ee362ec3a}, {2048, 0xdd59e2c3a5f038e0}};
  for (const auto& [size, hash] : known)
    EXPECT_EQ(digest64(sanity_bytes(size).data(), size), hash) << size << " bytes";
  EXPECT_EQ(digest64(sanity_bytes(1).data(), 1, 11400714785074694797U), 0x032be332dd766ef8U);
}

TEST(Digest, OfPiecesIsTheDigestOfTheWhole) {
  std::mt19937 random(3);
  for (const size_t size : {0, 1, 16, 17, 240, 241, 1024, 100000}) {
    const std::string bytes = noise(size, 1);
    for (int repeat = 0; repeat < 5; ++repeat) {
      Digester digester;
      for (size_t at = 0; at < size;) {
        const size_t piece = std::min<size_t>(size - at, random() % 700);
        digester.update(bytes.data() + at, piece);
        at += piece;
      }
      ASSERT_EQ(digester.finish(), digest128(bytes.data(), size)) << size;
    }
  }
}

TEST(Digest, FinishDoesNotEndTheStream) {
  Digester digester;
  digester.update("Lease");
  EXPECT_EQ(digester.finish().to_hex(), digest_of("Lease"));
  Digester moved = std::move(digester);
  moved.update("hold");
  EXPECT_EQ(moved.finish().to_hex(), digest_of("Leasehold"));
}

TEST(Digest, NumbersAreLittleEndian) {
  Digester digester;
  digester.update_u64(0x0807060504030201);
  EXPECT_EQ(digester.finish().to_hex(), digest_of("\x01\x02\x03\x04\x05\x06\x07\x08"));
}

TEST(Digest, EveryFlippedBitShows) {
  std::string bytes = noise(257, 2);
  const Digest128 good = digest128(bytes.data(), bytes.size());
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    ASSERT_NE(digest128(bytes.data(), bytes.size()), good) << "bit " << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
  }
  EXPECT_EQ(digest128(bytes.data(), bytes.size()), good);
}

TEST(Digest, HexGoesBothWays) {
  const Digest128 digest{0x0123456789abcdef, 0xfedcba9876543210};
  EXPECT_EQ(digest.to_hex(), "0123456789abcdeffedcba9876543210");
  const auto parsed = Digest128::from_hex(digest.to_hex());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, digest);
}

TEST(Digest, WhatIsNoDigestIsRefused) {
  for (const char* text :
       {"", "0123", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
        "0123456789ABCDEFFEDCBA9876543210", "0123456789abcdeffedcba987654321g",
        " 123456789abcdeffedcba9876543210"}) {
    const auto parsed = Digest128::from_hex(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.status().code(), Code::kBadData);
  }
}

}  // namespace
}  // namespace leasehold
