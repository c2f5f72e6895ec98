#include "runtime/base/mac.h"

#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sys/stat.h>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

SecretKey key_of(char digit) { return *SecretKey::parse(std::string(64, digit), "key"); }

std::string mac_of(const SecretKey& key, std::string_view purpose,
                   std::initializer_list<std::string_view> fields) {
  Mac mac(key, purpose);
  for (const std::string_view field : fields) mac.add(field);
  return mac.finish();
}

// The same bytes by Python: hashlib.blake2b(message, key=bytes.fromhex("11" * 32), digest_size=32),
// where each field follows its length in eight bytes.
TEST(Mac, IsKeyedBlake2b) {
  EXPECT_EQ(mac_of(key_of('1'), "test", {"", "abc"}),
            "c10a45127a738d014fd627282ab676bac16750e9ed66c1efcd87b82edbecbd3f");
}

TEST(Mac, DependsOnKeyPurposeAndEveryField) {
  std::set<std::string> macs = {mac_of(key_of('1'), "p", {"ab", "c"})};
  EXPECT_EQ(macs.begin()->size(), Mac::kDigits);
  macs.insert(mac_of(key_of('2'), "p", {"ab", "c"}));
  macs.insert(mac_of(key_of('1'), "q", {"ab", "c"}));
  macs.insert(mac_of(key_of('1'), "p", {"a", "bc"}));
  macs.insert(mac_of(key_of('1'), "p", {"abc"}));
  macs.insert(mac_of(key_of('1'), "p", {"ab", "c", ""}));
  macs.insert(mac_of(key_of('1'), "pab", {"c"}));
  EXPECT_EQ(macs.size(), 7U);
  EXPECT_TRUE(macs.contains(mac_of(key_of('1'), "p", {"ab", "c"})));
}

TEST(SecretKey, IsReadStrictlyAndNeverQuoted) {
  EXPECT_EQ(key_of('a').to_hex(), std::string(64, 'a'));
  for (const std::string& bad :
       {std::string(), std::string(63, 'b'), std::string(65, 'b'), std::string(64, 'B'),
        std::string(63, 'b') + "g", std::string(63, 'b') + "\n", std::string(62, 'b') + ": "}) {
    const auto key = SecretKey::parse(bad, "keys/one");
    ASSERT_FALSE(key.ok()) << bad;
    EXPECT_EQ(key.status().code(), Code::kBadData);
    EXPECT_NE(key.status().message().find("keys/one"), std::string::npos);
    EXPECT_EQ(key.status().message().find("bb"), std::string::npos) << key.status().message();
  }
}

TEST(SecretKey, KeysAreUnlikeEachOther) {
  std::set<std::string> keys;
  for (int i = 0; i < 100; ++i) keys.insert(SecretKey::make()->to_hex());
  for (int i = 0; i < 100; ++i) keys.insert(*random_hex(16));
  EXPECT_EQ(keys.size(), 200U);
}

TEST(SecretKey, SecretsAreComparedWhole) {
  EXPECT_TRUE(same_secret("abc", "abc"));
  for (const char* other : {"", "a", "ab", "abd", "bbc", "abcabc", "abca", "ABC"}) {
    EXPECT_FALSE(same_secret(other, "abc")) << other;
  }
  EXPECT_FALSE(same_secret("", ""));
  EXPECT_FALSE(same_secret("a", ""));
}

TEST(SecretKey, LiesInAFileOfItsOwner) {
  const TemporaryDirectory directory;
  const std::string path = directory / "key";
  EXPECT_EQ(read_key_file(posix_files(), path).status().code(), Code::kMissingInput);
  for (const char digit : {'3', '4'}) {
    ASSERT_TRUE(publish_key_file(path, key_of(digit)).ok());
    EXPECT_EQ(*read_key_file(posix_files(), path), key_of(digit));
  }
  struct stat status {};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  std::ofstream(path) << "4444";
  EXPECT_EQ(read_key_file(posix_files(), path).status().code(), Code::kBadData);
  EXPECT_EQ(publish_key_file(directory / "none/key", key_of('5')).code(), Code::kStorage);
}

}  // namespace
}  // namespace leasehold
