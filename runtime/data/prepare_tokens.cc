// Files of tokens to files of tokens: every id is checked against the tokenizer.
#include <algorithm>
#include <cstring>

#include "runtime/data/megatron_index.h"
#include "runtime/data/prepare_sources.h"
#include "runtime/data/token_file.h"

namespace leasehold {

namespace {

constexpr int64_t kBlockTokens = int64_t{1} << 20;

// read(begin, out) gives tokens [begin, begin + out.size()).
template <typename Read>
Status copy_tokens(int64_t num_tokens, int64_t cut, int64_t token_bytes,
                   const PrepareContext& context, const Read& read) {
  std::vector<int32_t> block;
  for (int64_t begin = 0; begin < num_tokens;) {
    const int64_t end = std::min(begin + kBlockTokens, begin < cut ? cut : num_tokens);
    block.resize(static_cast<size_t>(end - begin));
    LEASEHOLD_RETURN_IF_ERROR(read(begin, std::span<int32_t>(block)));
    LEASEHOLD_RETURN_IF_ERROR((begin < cut ? context.train : context.validation).append(block));
    LEASEHOLD_RETURN_IF_ERROR(context.advance((end - begin) * token_bytes));
    begin = end;
  }
  return ok_status();
}

std::span<const uint8_t> bytes_of(const MappedFile& file) {
  return {static_cast<const uint8_t*>(file.data()), static_cast<size_t>(file.size_bytes())};
}

// Little-endian ids, each checked.
Status widen_tokens(std::span<const uint8_t> bytes, int64_t token_bytes, std::span<int32_t> out,
                    int64_t vocab, int64_t first, const std::string& name) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint32_t id = 0;
    std::memcpy(&id, bytes.data() + i * static_cast<size_t>(token_bytes),
                static_cast<size_t>(token_bytes));
    if (id >= vocab) {
      return error(Code::kBadData,
                   "input {}: token {} is {}, but the tokenizer has the ids 0 to {}; name the "
                   "tokenizer that made the tokens, or another --format",
                   name, first + static_cast<int64_t>(i), id, vocab - 1);
    }
    out[i] = static_cast<int32_t>(id);
  }
  return ok_status();
}

}  // namespace

Status prepare_llmc(const PrepareInput& input, const PrepareContext& context) {
  LEASEHOLD_ASSIGN_OR_RETURN(const TokenFile file, TokenFile::open(context.files, input.path));
  const int64_t vocab = context.tokenizer.vocab_size();
  LEASEHOLD_RETURN_IF_ERROR(context.advance(kTokenHeaderBytes));
  return copy_tokens(
      file.num_tokens(), fraction_cut(file.num_tokens(), context.validation_fraction),
      file.token_bytes(), context,
      [&](int64_t begin, std::span<int32_t> out) { return file.read(begin, out, vocab); });
}

Status prepare_plain_tokens(const PrepareInput& input, const PrepareContext& context) {
  const int64_t token_bytes = input.format == PrepareFormat::kUint16 ? 2 : 4;
  if (input.size_bytes % token_bytes != 0) {
    return error(
        Code::kBadData,
        "input {}: {} bytes are no whole number of tokens of {} bytes; copy the file again, "
        "or name another --format",
        input.name, input.size_bytes, token_bytes);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, context.files.map(input.path));
  const int64_t num_tokens = input.size_bytes / token_bytes;
  const int64_t vocab = context.tokenizer.vocab_size();
  return copy_tokens(num_tokens, fraction_cut(num_tokens, context.validation_fraction), token_bytes,
                     context, [&](int64_t begin, std::span<int32_t> out) {
                       const auto bytes =
                           bytes_of(*file).subspan(static_cast<size_t>(begin * token_bytes),
                                                   out.size() * static_cast<size_t>(token_bytes));
                       return widen_tokens(bytes, token_bytes, out, vocab, begin, input.name);
                     });
}

Status prepare_megatron(const PrepareInput& input, const PrepareContext& context) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto index_file, context.files.map(input.index_path));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto bin_file, context.files.map(input.path));
  LEASEHOLD_ASSIGN_OR_RETURN(
      const MegatronIndex index,
      MegatronIndex::parse(bytes_of(*index_file), bin_file->size_bytes(), input.index_path));
  // The last document border that leaves at least the fraction.
  const int64_t target = fraction_cut(index.num_tokens(), context.validation_fraction);
  int64_t low = 0, high = index.num_documents();
  while (low < high) {
    const int64_t middle = low + (high - low + 1) / 2;
    if (index.document_begin(middle) <= target) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  const int64_t vocab = context.tokenizer.vocab_size();
  return copy_tokens(index.num_tokens(), index.document_begin(low), index.token_bytes(), context,
                     [&](int64_t begin, std::span<int32_t> out) {
                       return index.read(bytes_of(*bin_file), begin, out, vocab, input.path);
                     });
}

}  // namespace leasehold
