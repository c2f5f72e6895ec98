// Files of tokens to files of tokens: every id is checked against the tokenizer.
#include <algorithm>

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
