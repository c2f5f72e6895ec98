#include "runtime/data/megatron_index.h"

#include <array>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

constexpr std::string_view kMegatronMagic("MMIDIDX\0\0", 9);
constexpr int64_t kMegatronHeaderBytes = 34;
constexpr uint64_t kMegatronVersion = 1;
constexpr const char* kMegatronWayOut =
    "make the pair again with Megatron-LM's tools/preprocess_data.py";

// Bytes by dtype code; 0: not an integer.
constexpr std::array kMegatronTokenBytes = {0, 1, 1, 2, 4, 8, 0, 0, 2};

template <typename Number>
Number load_number(std::span<const uint8_t> bytes, int64_t offset) {
  Number number;
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

// Returns the position of the first token that is not an id below `vocab`, or -1.
template <typename Token>
int64_t widen_ids(std::span<const uint8_t> bytes, int64_t begin, std::span<int32_t> out,
                  int64_t vocab) {
  for (size_t i = 0; i < out.size(); ++i) {
    const auto token = load_number<Token>(
        bytes, (begin + static_cast<int64_t>(i)) * static_cast<int64_t>(sizeof(Token)));
    if (static_cast<int64_t>(token) < 0 || static_cast<int64_t>(token) >= vocab)
      return static_cast<int64_t>(i);
    out[i] = static_cast<int32_t>(token);  // NOLINT(bugprone-signed-char-misuse): not negative
  }
  return -1;
}

}  // namespace

bool has_megatron_magic(std::span<const uint8_t> bytes) {
  return bytes.size() >= kMegatronMagic.size() &&
         std::memcmp(bytes.data(), kMegatronMagic.data(), kMegatronMagic.size()) == 0;
}

int64_t MegatronIndex::length(int64_t sequence) const {
  return load_number<int32_t>(bytes_, kMegatronHeaderBytes + 4 * sequence);
}
int64_t MegatronIndex::pointer(int64_t sequence) const {
  return load_number<int64_t>(bytes_, kMegatronHeaderBytes + 4 * num_sequences_ + 8 * sequence);
}
int64_t MegatronIndex::entry(int64_t document) const {
  return load_number<int64_t>(bytes_, kMegatronHeaderBytes + 12 * num_sequences_ + 8 * document);
}

int64_t MegatronIndex::document_begin(int64_t document) const {
  LEASEHOLD_CHECK(document >= 0 && document < num_entries_, "document {} of {}", document,
                  num_documents());
  const int64_t sequence = entry(document);
  return sequence == num_sequences_ ? num_tokens_ : pointer(sequence) / token_bytes_;
}

Result<MegatronIndex> MegatronIndex::parse(std::span<const uint8_t> bytes, int64_t bin_bytes,
                                           const std::string& path) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (!has_megatron_magic(bytes) || size < kMegatronHeaderBytes) {
    const std::string_view head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!has_megatron_magic(bytes))
      LEASEHOLD_RETURN_IF_ERROR(check_file_kind(head, path, "a Megatron index"));
    return error(Code::kBadData, "{}: not a Megatron index (\"MMIDIDX\" and {} bytes at least); {}",
                 path, kMegatronHeaderBytes, kMegatronWayOut);
  }
  MegatronIndex index;
  index.bytes_ = bytes;
  const auto version = load_number<uint64_t>(bytes, 9);
  if (version != kMegatronVersion) {
    return error(Code::kBadData, "{}: a Megatron index of version {}; only {} is read; {}", path,
                 version, kMegatronVersion, kMegatronWayOut);
  }
  index.dtype_ = load_number<uint8_t>(bytes, 17);
  const auto code = static_cast<size_t>(index.dtype_);
  index.token_bytes_ = code < kMegatronTokenBytes.size() ? kMegatronTokenBytes[code] : 0;
  if (index.token_bytes_ == 0) {
    return error(Code::kBadData,
                 "{}: dtype {} is no integer type of Megatron's (1 to 5 and 8); tokens are "
                 "integers; {}",
                 path, index.dtype_, kMegatronWayOut);
  }
  const auto sequences = load_number<uint64_t>(bytes, 18);
  const auto entries = load_number<uint64_t>(bytes, 26);
  // Compared by division: the products could overflow.
  const auto left = static_cast<uint64_t>(size - kMegatronHeaderBytes);
  if (sequences > left / 12 || entries > (left - 12 * sequences) / 8 ||
      left != 12 * sequences + 8 * entries) {
    return error(Code::kBadData,
                 "{}: {} sequences and {} document entries do not fit the {} bytes behind the "
                 "header (12 and 8 bytes each); {}",
                 path, sequences, entries, left, kMegatronWayOut);
  }
  index.num_sequences_ = static_cast<int64_t>(sequences);
  index.num_entries_ = static_cast<int64_t>(entries);
  LEASEHOLD_RETURN_IF_ERROR(index.check(path, bin_bytes));
  return index;
}

Status MegatronIndex::check(const std::string& path, int64_t bin_bytes) {
  int64_t expected = 0;
  for (int64_t i = 0; i < num_sequences_; ++i) {
    if (length(i) < 0 || length(i) > (bin_bytes - expected) / token_bytes_) {
      return error(Code::kBadData,
                   "{}: sequence {} has {} tokens at byte {} of a .bin of {} bytes; {}", path, i,
                   length(i), expected, bin_bytes, kMegatronWayOut);
    }
    if (pointer(i) != expected) {
      return error(Code::kBadData,
                   "{}: sequence {} begins at byte {}, but the sequences before it end at {}; {}",
                   path, i, pointer(i), expected, kMegatronWayOut);
    }
    expected += length(i) * token_bytes_;
  }
  if (expected != bin_bytes) {
    return error(Code::kBadData, "{}: its sequences fill {} bytes of a .bin of {}; {}", path,
                 expected, bin_bytes, kMegatronWayOut);
  }
  num_tokens_ = expected / token_bytes_;
  for (int64_t i = 0; i < num_entries_; ++i) {
    const int64_t before = i == 0 ? 0 : entry(i - 1);
    if (i == 0 ? entry(i) == 0 : entry(i) >= before && entry(i) <= num_sequences_) continue;
    return error(Code::kBadData,
                 "{}: document entry {} is {}; the first must be 0, and each between the one "
                 "before and the {} sequences; {}",
                 path, i, entry(i), num_sequences_, kMegatronWayOut);
  }
  if (num_entries_ == 0 || entry(num_entries_ - 1) != num_sequences_) {
    return error(Code::kBadData,
                 "{}: the last document entry must be {}, the number of sequences; {}", path,
                 num_sequences_, kMegatronWayOut);
  }
  return ok_status();
}

Status MegatronIndex::read(std::span<const uint8_t> bin, int64_t begin, std::span<int32_t> out,
                           int64_t vocab, const std::string& bin_path) const {
  LEASEHOLD_CHECK(static_cast<int64_t>(bin.size()) == num_tokens_ * token_bytes_ && begin >= 0 &&
                      static_cast<int64_t>(out.size()) <= num_tokens_ - begin,
                  "{}: tokens [{}, {} + {}) of {}", bin_path, begin, begin, out.size(),
                  num_tokens_);
  int64_t bad = -1;
  switch (dtype_) {
    case 1:
      bad = widen_ids<uint8_t>(bin, begin, out, vocab);
      break;
    case 2:
      bad = widen_ids<int8_t>(bin, begin, out, vocab);
      break;
    case 3:
      bad = widen_ids<int16_t>(bin, begin, out, vocab);
      break;
    case 4:
      bad = widen_ids<int32_t>(bin, begin, out, vocab);
      break;
    case 5:
      bad = widen_ids<int64_t>(bin, begin, out, vocab);
      break;
    default:
      bad = widen_ids<uint16_t>(bin, begin, out, vocab);
      break;
  }
  if (bad < 0) return ok_status();
  return error(Code::kBadData,
               "{}: token {} is no id of the tokenizer, which has 0 to {}; name the tokenizer that "
               "the dataset was made with",
               bin_path, begin + bad, vocab - 1);
}

}  // namespace leasehold
