// Secret keys and MACs (keyed BLAKE2b of libsodium): whoever shows the MAC of a message had the
// key, and nobody changed the message. Digests (digest.h) find bits that flipped; these find people
// who lie.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

class SecretKey {
 public:
  static constexpr size_t kBytes = 32;

  // Draws a key from the system's source of randomness. kUnavailable when that has none.
  static Result<SecretKey> make();
  // Reads 64 lower-case hexadecimal digits. kBadData, naming `what` and never the digits.
  static Result<SecretKey> parse(std::string_view hex, const std::string& what);
  std::string to_hex() const;

  const std::array<unsigned char, kBytes>& bytes() const { return bytes_; }
  bool operator==(const SecretKey&) const = default;

 private:
  std::array<unsigned char, kBytes> bytes_ = {};
};

// Makes the MAC of a list of fields. The purpose and each field count with their lengths, so a MAC
// made for one purpose or split of the text is none for another.
class Mac {
 public:
  static constexpr size_t kDigits = 64;

  Mac(const SecretKey& key, std::string_view purpose);
  ~Mac();
  Mac(Mac&&) noexcept;
  Mac& operator=(Mac&&) noexcept;

  Mac& add(std::string_view field);
  // Returns 64 lower-case hexadecimal digits. Once, after the last field.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Compares two texts in a time that tells only whether they have the same length. An empty text is
// equal to none.
bool same_secret(std::string_view given, std::string_view expected);

// Returns 2 * `bytes` hexadecimal digits from the system's source of randomness.
Result<std::string> random_hex(size_t bytes);

// Publishes `content` as `path`, durably and with mode 0600: at no moment can anybody but the owner
// read it. kStorage.
Status publish_private_file(const std::string& path, std::string_view content);

// A key in a file of its own. kMissingInput when there is none; kBadData when it holds no key.
Result<SecretKey> read_key_file(FileSystem& files, const std::string& path);
Status publish_key_file(const std::string& path, const SecretKey& key);

}  // namespace leasehold
