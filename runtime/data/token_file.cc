#include "runtime/data/token_file.h"

#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "runtime/base/check.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

static_assert(std::endian::native == std::endian::little, "token files are read as they lie");

constexpr int32_t kMagicUint16 = 20240520;
constexpr int32_t kVersionUint16 = 1;
constexpr int32_t kMagicUint32 = 20240801;
constexpr int32_t kVersionUint32 = 7;

constexpr int64_t kWholeDigestBytes = int64_t{64} << 20;
constexpr int64_t kDigestBlocks = 1024;
constexpr int64_t kDigestBlockBytes = int64_t{64} << 10;
constexpr int64_t kDigestReadBytes = int64_t{1} << 20;

constexpr const char* kWayOut = "make one with `leasehold prepare`";

int32_t header_word(std::span<const uint8_t> bytes, int64_t index) {
  int32_t word = 0;
  std::memcpy(&word, bytes.data() + 4 * index, sizeof word);
  return word;
}

// Widens tokens to int32. Returns the position of the first id that is not below `vocab`, or -1.
template <typename Token>
int64_t widen(const uint8_t* bytes, std::span<int32_t> out, int64_t vocab) {
  const int64_t count = static_cast<int64_t>(out.size());
  Token largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    Token token;
    std::memcpy(&token, bytes + i * static_cast<int64_t>(sizeof token), sizeof token);
    largest = token > largest ? token : largest;
    out[i] = static_cast<int32_t>(token);
  }
  if (int64_t{largest} < vocab) return -1;
  for (int64_t i = 0; i < count; ++i) {
    if (static_cast<uint32_t>(out[i]) >= vocab) return i;
  }
  return -1;
}

}  // namespace

Result<TokenHeader> parse_token_header(std::span<const uint8_t> bytes, int64_t file_bytes,
                                       const std::string& path) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  LEASEHOLD_RETURN_IF_ERROR(check_file_kind(head, path, "a token file"));
  if (static_cast<int64_t>(bytes.size()) < kTokenHeaderBytes || file_bytes < kTokenHeaderBytes) {
    return error(
        Code::kBadData, "{}: {} bytes are too few for a token file, whose header alone has {}; {}",
        path, std::min(file_bytes, static_cast<int64_t>(bytes.size())), kTokenHeaderBytes, kWayOut);
  }
  const int32_t magic = header_word(bytes, 0);
  const int32_t version = header_word(bytes, 1);
  if (magic != kMagicUint16 && magic != kMagicUint32) {
    return error(
        Code::kBadData,
        "{}: not a token file: it starts with the number {}, expected {} (uint16 tokens) or {} "
        "(uint32 tokens); {}; if it holds tokens without a header, as nanoGPT's train.bin does, "
        "`leasehold prepare --format uint16` with their tokenizer makes one of it",
        path, magic, kMagicUint16, kMagicUint32, kWayOut);
  }
  const bool wide = magic == kMagicUint32;
  const int32_t expected = wide ? kVersionUint32 : kVersionUint16;
  if (version != expected) {
    return error(Code::kBadData, "{}: token file of version {}, expected {} for magic {}; {}", path,
                 version, expected, magic, kWayOut);
  }
  TokenHeader header;
  header.token_bytes = wide ? 4 : 2;
  const uint64_t count = static_cast<uint32_t>(header_word(bytes, 2)) |
                         static_cast<uint64_t>(static_cast<uint32_t>(header_word(bytes, 3))) << 32;
  const int64_t payload = file_bytes - kTokenHeaderBytes;
  const uint64_t held = static_cast<uint64_t>(payload / header.token_bytes);
  if (count != held || payload % header.token_bytes != 0) {
    return error(
        Code::kBadData,
        "{}: the header promises {} tokens of {} bytes but {} bytes follow it ({}); copy the "
        "file again or {}",
        path, count, header.token_bytes, payload, count > held ? "truncated" : "more than promised",
        kWayOut);
  }
  header.num_tokens = static_cast<int64_t>(count);
  return header;
}

std::string make_token_header(int64_t num_tokens, int token_bytes) {
  LEASEHOLD_CHECK(num_tokens >= 0 && (token_bytes == 2 || token_bytes == 4),
                  "{} tokens of {} bytes", num_tokens, token_bytes);
  const bool wide = token_bytes == 4;
  const int32_t words[4] = {
      wide ? kMagicUint32 : kMagicUint16, wide ? kVersionUint32 : kVersionUint16,
      static_cast<int32_t>(num_tokens & 0xFFFFFFFF), static_cast<int32_t>(num_tokens >> 32)};
  std::string header(kTokenHeaderBytes, '\0');
  std::memcpy(header.data(), words, sizeof words);
  return header;
}

TokenFile::TokenFile(std::string path, std::shared_ptr<LimitedReader> file, TokenHeader header)
    : path_(std::move(path)), file_(std::move(file)), header_(header) {}

Result<TokenFile> TokenFile::open(FileSystem& files, const std::string& path, double limit_s) {
  auto opened = files.open(path);
  if (opened.status().code() == Code::kMissingInput) {
    return error(Code::kMissingInput, "token file missing: {}; {}", opened.status().message(),
                 kWayOut);
  }
  LEASEHOLD_RETURN_IF_ERROR(opened.status());
  const auto file = std::make_shared<LimitedReader>(std::move(opened).value(), path, limit_s);
  const int64_t size = file->size_bytes();
  Result<TokenHeader> header = TokenHeader();
  LEASEHOLD_RETURN_IF_ERROR(file->read_at(
      0, std::min(size, kTokenHeaderBytes),
      [&](std::span<const uint8_t> bytes) { header = parse_token_header(bytes, size, path); }));
  LEASEHOLD_RETURN_IF_ERROR(header.status());
  return TokenFile(path, file, *header);
}

// Reads bytes that the header promised. If the file ends before them, it was cut since.
Status TokenFile::read_bytes(int64_t offset, int64_t size_bytes,
                             const std::function<void(std::span<const uint8_t>)>& use) const {
  const Status read = file_->read_at(offset, size_bytes, use);
  if (read.code() != Code::kBadData) return read;
  return error(
      Code::kBadData,
      "{}; it was replaced or cut while it was read: put the file back as it was, and give "
      "new data a new name",
      read.message());
}

Status TokenFile::read(int64_t begin, std::span<int32_t> out, int64_t vocab) const {
  const int64_t count = static_cast<int64_t>(out.size());
  LEASEHOLD_CHECK(begin >= 0 && begin <= num_tokens() && count <= num_tokens() - begin,
                  "{}: tokens [{}, {} + {}) of {}", path_, begin, begin, count, num_tokens());
  LEASEHOLD_CHECK(vocab > 0 && vocab <= int64_t{1} << 31, "vocab {}", vocab);
  if (count == 0) return ok_status();
  int64_t bad = -1;
  const auto take = [&](std::span<const uint8_t> bytes) {
    bad = header_.token_bytes == 2 ? widen<uint16_t>(bytes.data(), out, vocab)
                                   : widen<uint32_t>(bytes.data(), out, vocab);
  };
  // A reference fits into std::function without allocating.
  LEASEHOLD_RETURN_IF_ERROR(read_bytes(kTokenHeaderBytes + begin * header_.token_bytes,
                                       count * header_.token_bytes, std::ref(take)));
  if (bad < 0) return ok_status();
  return error(Code::kBadData,
               "{}: token {} is {}, but the vocabulary has {} ids (0 to {}); raise model.vocab, or "
               "prepare the text again with the tokenizer of this job",
               path_, begin + bad, static_cast<uint32_t>(out[bad]), vocab, vocab - 1);
}

Result<Digest128> TokenFile::digest() const {
  Digester digester;
  const auto update = [&](std::span<const uint8_t> bytes) {
    digester.update(bytes.data(), bytes.size());
  };
  const int64_t size = file_->size_bytes();
  if (size <= kWholeDigestBytes) {
    for (int64_t done = 0; done < size; done += kDigestReadBytes) {
      LEASEHOLD_RETURN_IF_ERROR(read_bytes(done, std::min(kDigestReadBytes, size - done), update));
    }
    return digester.finish();
  }
  LEASEHOLD_RETURN_IF_ERROR(read_bytes(0, kTokenHeaderBytes, update));
  const int64_t span = size - kTokenHeaderBytes - kDigestBlockBytes;
  for (int64_t i = 0; i < kDigestBlocks; ++i) {
    // i * span would overflow above 8 PiB.
    const int64_t offset =
        i * (span / (kDigestBlocks - 1)) + i * (span % (kDigestBlocks - 1)) / (kDigestBlocks - 1);
    LEASEHOLD_RETURN_IF_ERROR(read_bytes(kTokenHeaderBytes + offset, kDigestBlockBytes, update));
  }
  return digester.finish();
}

}  // namespace leasehold
