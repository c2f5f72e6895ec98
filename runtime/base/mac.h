// Secret keys and MACs (keyed BLAKE2b of libsodium). The MAC of a message proves that its sender
// has the key and that nobody changed the message. Digests (digest.h) detect flipped bits; MACs
// detect forgery.
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

  // Draws a key from the system's source of randomness; kUnavailable if that fails.
  static Result<SecretKey> make();
  // Parses 64 lower-case hexadecimal digits. Fails with kBadData, naming `what` but never the
  // digits.
  static Result<SecretKey> parse(std::string_view hex, const std::string& what);
  std::string to_hex() const;

  const std::array<unsigned char, kBytes>& bytes() const { return bytes_; }
  bool operator==(const SecretKey&) const = default;

 private:
  std::array<unsigned char, kBytes> bytes_ = {};
};

// A Mac computes the MAC of a list of fields. The purpose and each field enter with their lengths,
// so the MAC is not valid for another purpose or for the same text split differently.
class Mac {
 public:
  static constexpr size_t kDigits = 64;

  Mac(const SecretKey& key, std::string_view purpose);
  ~Mac();
  Mac(Mac&&) noexcept;
  Mac& operator=(Mac&&) noexcept;

  Mac& add(std::string_view field);
  // Returns 64 lower-case hexadecimal digits. Called once, after the last field.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Compares two texts. The time taken shows only whether their lengths are equal. An empty text
// equals nothing.
bool same_secret(std::string_view given, std::string_view expected);

// Returns 2 * `bytes` hexadecimal digits from the system's source of randomness.
Result<std::string> random_hex(size_t bytes);

// Publishes `content` as `path`, durably and with mode 0600: nobody but the owner can read it at
// any moment. Fails with kStorage.
Status publish_private_file(const std::string& path, std::string_view content);

// Reads a key from a file of its own; kMissingInput if the file does not exist, kBadData if it
// holds no key.
Result<SecretKey> read_key_file(FileSystem& files, const std::string& path);
Status publish_key_file(const std::string& path, const SecretKey& key);

}  // namespace leasehold
