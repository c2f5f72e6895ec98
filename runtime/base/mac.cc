#include "runtime/base/mac.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sodium.h>
#include <sys/random.h>
#include <unistd.h>
#include <vector>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxKeyFileBytes = 256;

Status fill_with_random_bytes(unsigned char* bytes, size_t size) {
  for (size_t filled = 0; filled < size;) {
    const ssize_t got = ::getrandom(bytes + filled, size - filled, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      return error(Code::kUnavailable, "the system gives no random bytes (getrandom): {}",
                   std::strerror(errno));
    }
    filled += static_cast<size_t>(got);
  }
  return ok_status();
}

std::string hex_of(const unsigned char* bytes, size_t size) {
  std::string text(2 * size + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes, size);
  text.pop_back();  // the zero at the end
  return text;
}

Status failed(const std::string& path) {
  return error(Code::kStorage, "{}: {}", path, std::strerror(errno));
}

Status write_private(const std::string& path, std::string_view content) {
  ::unlink(path.c_str());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path);
  const ssize_t written = ::write(fd, content.data(), content.size());
  Status status;
  if (written != std::ssize(content) || ::fsync(fd) != 0) status = failed(path);
  if (::close(fd) != 0 && status.ok()) status = failed(path);
  return status;
}

}  // namespace

Result<SecretKey> SecretKey::make() {
  SecretKey key;
  LEASEHOLD_RETURN_IF_ERROR(fill_with_random_bytes(key.bytes_.data(), kBytes));
  return key;
}

Result<SecretKey> SecretKey::parse(std::string_view hex, const std::string& what) {
  const Status bad =
      error(Code::kBadData, "{}: not a key of {} hexadecimal digits", what, 2 * kBytes);
  if (hex.size() != 2 * kBytes) return bad;
  if (hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) return bad;
  SecretKey key;
  size_t size = 0;
  const int failure =
      sodium_hex2bin(key.bytes_.data(), kBytes, hex.data(), hex.size(), nullptr, &size, nullptr);
  if (failure != 0 || size != kBytes) return bad;
  return key;
}

std::string SecretKey::to_hex() const { return hex_of(bytes_.data(), kBytes); }

struct Mac::State {
  crypto_generichash_state hash;
};

Mac::Mac(const SecretKey& key, std::string_view purpose) : state_(std::make_unique<State>()) {
  // Chooses the code for this processor; every later call does nothing.
  LEASEHOLD_CHECK(sodium_init() >= 0, "libsodium cannot start");
  crypto_generichash_init(&state_->hash, key.bytes().data(), SecretKey::kBytes,
                          crypto_generichash_BYTES);
  add(purpose);
}
Mac::~Mac() = default;
Mac::Mac(Mac&&) noexcept = default;
Mac& Mac::operator=(Mac&&) noexcept = default;

Mac& Mac::add(std::string_view field) {
  std::array<unsigned char, sizeof(uint64_t)> length;
  for (size_t i = 0; i < length.size(); ++i) {
    length[i] = static_cast<unsigned char>(static_cast<uint64_t>(field.size()) >> (8 * i));
  }
  crypto_generichash_update(&state_->hash, length.data(), length.size());
  crypto_generichash_update(&state_->hash, reinterpret_cast<const unsigned char*>(field.data()),
                            field.size());
  return *this;
}

std::string Mac::finish() {
  std::array<unsigned char, crypto_generichash_BYTES> bytes;
  static_assert(2 * crypto_generichash_BYTES == kDigits);
  crypto_generichash_final(&state_->hash, bytes.data(), bytes.size());
  return hex_of(bytes.data(), bytes.size());
}

bool same_secret(std::string_view given, std::string_view expected) {
  return !expected.empty() && given.size() == expected.size() &&
         sodium_memcmp(given.data(), expected.data(), given.size()) == 0;
}

Result<std::string> random_hex(size_t bytes) {
  std::vector<unsigned char> drawn(bytes);
  LEASEHOLD_RETURN_IF_ERROR(fill_with_random_bytes(drawn.data(), drawn.size()));
  return hex_of(drawn.data(), drawn.size());
}

Status publish_private_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".private.tmp";
  LEASEHOLD_RETURN_IF_ERROR(write_private(temporary, content));
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return failed(path);
  return posix_files().sync_directory(parent_path(path));
}

Result<SecretKey> read_key_file(FileSystem& files, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(std::string text, read_file(files, path, kMaxKeyFileBytes));
  if (text.ends_with('\n')) text.pop_back();
  return SecretKey::parse(text, path);
}

Status publish_key_file(const std::string& path, const SecretKey& key) {
  return publish_private_file(path, key.to_hex() + "\n");
}

}  // namespace leasehold
