#include "runtime/data/sentencepiece_tokenizer.h"

#include <cctype>
#include <mutex>
#include <sentencepiece_processor.h>

#include "runtime/data/base64.h"
#include "runtime/data/piece_cache.h"
#include "runtime/data/sentencepiece_model.h"
#include "runtime/data/split_pattern.h"
#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
constexpr int64_t kMaxPieces = int64_t{1} << 24;

using Processor = sentencepiece::SentencePieceProcessor;

bool begins_white(std::string_view text) {
  return text.starts_with(kSpaceMark) || text.starts_with(' ') || text.starts_with('\n');
}

// Returns true for a token that continues over the border before a word.
bool spans_words(std::string_view piece) {
  bool visible = false;
  while (!piece.empty()) {
    const bool white = begins_white(piece);
    if (white && visible) return true;
    visible = !white;
    piece.remove_prefix(std::max<size_t>(1, utf8_character_bytes(piece)));
  }
  return false;
}

// Loads the model with another NormalizerSpec.add_dummy_prefix. A field of a message may be
// repeated after it, and the last one counts.
Result<std::unique_ptr<Processor>> load_processor(std::string model, bool add_dummy_prefix,
                                                  const std::string& file) {
  model +=
      add_dummy_prefix ? std::string("\x1A\x02\x18\x01", 4) : std::string("\x1A\x02\x18\x00", 4);
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(model);
  if (!status.ok()) {
    return error(Code::kBadData, "{}: the SentencePiece library refuses the model: {}", file,
                 status.ToString());
  }
  return processor;
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string bytes, SentencePieceModel model,
                         std::unique_ptr<Processor> prefixing, std::unique_ptr<Processor> plain,
                         SplitPattern word_end)
      : bytes_(std::move(bytes)),
        model_(std::move(model)),
        prefixing_(std::move(prefixing)),
        plain_(std::move(plain)),
        word_end_(std::move(word_end)) {
    for (int id = 0; id < plain_->GetPieceSize(); ++id) {
      if (plain_->IsByte(id)) byte_ids_[byte_of(id)] = id;
    }
    std::vector<int> with_newline, with_space;
    newline_is_space_ = plain_->Encode("a\nb", &with_newline).ok() &&
                        plain_->Encode("a b", &with_space).ok() && with_newline == with_space;
    DocumentTokens tokens;
    if (plain_->bos_id() >= 0) tokens.begin = plain_->bos_id();
    if (plain_->eos_id() >= 0) tokens.ends.push_back(plain_->eos_id());
    set_own_document_tokens(std::move(tokens));
  }

  std::string_view name() const override { return "sentencepiece"; }
  int64_t vocab_size() const override { return plain_->GetPieceSize(); }
  std::optional<int32_t> token_id(std::string_view content) const override {
    const int id = plain_->PieceToId(content);
    return plain_->IdToPiece(id) == content ? std::optional<int32_t>(id) : std::nullopt;
  }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    return encode(text, /*begins=*/true);
  }
  Result<std::vector<int32_t>> encode_rest(std::string_view rest) const override {
    return encode(rest, /*begins=*/false);
  }

  Result<std::vector<int32_t>> encode(std::string_view text, bool begins) const {
    std::unique_ptr<PieceCache> cache = take_cache();
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3);
    Status status;
    size_t begin = 0;
    for (size_t at = 1; at <= text.size() && status.ok(); ++at) {
      if (at < text.size() && !may_cut(text, at)) continue;
      const std::string_view word = text.substr(begin, at - begin);
      if (begin == 0 && begins) {
        status = encode_word(word, model_.add_dummy_prefix, ids);
      } else {
        cache->append(word, ids, [&](std::string_view missed, std::vector<int32_t>& out) {
          status = encode_word(missed, follows_with_prefix(missed), out);
        });
      }
      begin = at;
    }
    give_back(std::move(cache));
    if (!status.ok()) return status;
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    std::string text;
    bool first = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= vocab_size()) {
        return error(Code::kBadData,
                     "token {} is {}, but the SentencePiece model has the ids 0 to {}", i, ids[i],
                     vocab_size() - 1);
      }
      if (plain_->IsControl(ids[i])) continue;
      const std::string piece = surface(ids[i]);
      text.append(piece, first && piece.starts_with(' ') ? 1 : 0);
      first = false;
    }
    return text;
  }

  int64_t separable_prefix(std::string_view text) const override {
    for (size_t at = text.size(); at-- > 1;) {
      if (may_cut(text, at)) return static_cast<int64_t>(at);
    }
    return 0;
  }

 protected:
  std::string description() const override {
    return wrap_sentencepiece_model(bytes_, vocab_size());
  }

 private:
  // Returns the byte of a byte token: 10 for "<0x0A>".
  size_t byte_of(int id) const {
    return static_cast<size_t>(std::stoi(plain_->IdToPiece(id).substr(3, 2), nullptr, 16));
  }

  std::string surface(int id) const {
    if (plain_->IsUnknown(id)) return model_.unknown_surface;
    if (plain_->IsByte(id)) return std::string(1, static_cast<char>(byte_of(id)));
    std::string text;
    std::string_view piece = plain_->IdToPiece(id);
    for (size_t mark; (mark = piece.find(kSpaceMark)) != std::string_view::npos;) {
      text.append(piece.substr(0, mark)) += ' ';
      piece.remove_prefix(mark + kSpaceMark.size());
    }
    return text.append(piece);
  }

  bool may_cut(std::string_view text, size_t at) const {
    if (text[at] != ' ' && text[at] != '\n') return false;
    const auto before = static_cast<unsigned char>(text[at - 1]);
    if (before < 0x80) return std::isalnum(before) != 0 || std::ispunct(before) != 0;
    const size_t begin = utf8_previous(text, at);
    if (begin == at) return false;
    SplitPattern::Scratch scratch(word_end_, /*deep=*/false);
    return word_end_.find(scratch, text.substr(begin, at - begin), 0).found;
  }

  // Returns true if a word that follows another one, and so begins with a space or newline, needs
  // the library's space in front. It does if the library removes white space at the beginning,
  // because the word's own space is then gone.
  bool follows_with_prefix(std::string_view word) const {
    return model_.remove_extra_whitespaces && (word.front() == ' ' || newline_is_space_);
  }

  Status encode_word(std::string_view word, bool prefix, std::vector<int32_t>& out) const {
    while (!word.empty()) {
      const size_t valid = utf8_prefix_bytes(word);
      std::vector<int> ids;
      if (valid > 0) {
        const auto status = (prefix ? prefixing_ : plain_)->Encode(word.substr(0, valid), &ids);
        if (!status.ok())
          return error(Code::kBadData, "the SentencePiece library: {}", status.ToString());
        out.insert(out.end(), ids.begin(), ids.end());
      }
      word.remove_prefix(valid);
      if (word.empty()) break;
      out.push_back(model_.byte_fallback ? byte_ids_[static_cast<uint8_t>(word.front())]
                                         : plain_->unk_id());
      word.remove_prefix(1);
      prefix = false;
    }
    return ok_status();
  }

  std::unique_ptr<PieceCache> take_cache() const {
    {
      std::lock_guard lock(mutex_);
      if (!caches_.empty()) {
        auto cache = std::move(caches_.back());
        caches_.pop_back();
        return cache;
      }
    }
    return std::make_unique<PieceCache>();
  }
  void give_back(std::unique_ptr<PieceCache> cache) const {
    std::lock_guard lock(mutex_);
    caches_.push_back(std::move(cache));
  }

  std::string bytes_;
  SentencePieceModel model_;
  std::unique_ptr<Processor> prefixing_, plain_;  // with and without a space in front of the text
  SplitPattern word_end_;
  std::array<int32_t, 256> byte_ids_{};
  bool newline_is_space_ = false;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<PieceCache>> caches_;  // the idle ones
};

Status check_model(const SentencePieceModel& model, const std::string& file) {
  const auto refuse = [&](const std::string& what) {
    return error(Code::kBadData,
                 "{}: {}, which is not implemented; use a model without it, or train with another "
                 "tokenizer",
                 file, what);
  };
  if (model.num_pieces > kMaxPieces)
    return refuse(fmt::format("{} tokens (at most {})", model.num_pieces, kMaxPieces));
  if (model.whitespace_as_suffix) return refuse("treat_whitespace_as_suffix");
  if (!model.escape_whitespaces) return refuse("escape_whitespaces = false");
  if (model.denormalizes) return refuse("a denormaliser");
  for (const std::string& piece : model.pieces) {
    if (spans_words(piece)) return refuse(fmt::format("the token '{}', which spans words", piece));
  }
  return ok_status();
}

}  // namespace

std::string wrap_sentencepiece_model(std::string_view model, int64_t vocab) {
  return fmt::format(
      "{{\"format\": \"leasehold-tokenizer\", \"version\": 1, \"name\": \"sentencepiece\", "
      "\"vocab\": {}, \"model\": \"{}\"}}\n",
      vocab, to_base64(model));
}

Result<std::unique_ptr<Tokenizer>> create_sentencepiece_tokenizer(std::string_view bytes,
                                                                  const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(SentencePieceModel model, read_sentencepiece_model(bytes, file));
  LEASEHOLD_RETURN_IF_ERROR(check_model(model, file));
  LEASEHOLD_ASSIGN_OR_RETURN(auto prefixing, load_processor(std::string(bytes), true, file));
  LEASEHOLD_ASSIGN_OR_RETURN(auto plain, load_processor(std::string(bytes), false, file));
  int64_t num_bytes = 0;
  for (int id = 0; id < plain->GetPieceSize(); ++id) num_bytes += plain->IsByte(id) ? 1 : 0;
  if (model.byte_fallback && num_bytes != 256) {
    return error(Code::kBadData,
                 "{}: byte_fallback with {} byte tokens instead of 256; take the "
                 "file again",
                 file, num_bytes);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(SplitPattern word_end,
                             SplitPattern::compile("[\\p{L}\\p{N}\\p{P}]", file));
  return std::unique_ptr<Tokenizer>(
      new SentencePieceTokenizer(std::string(bytes), std::move(model), std::move(prefixing),
                                 std::move(plain), std::move(word_end)));
}

}  // namespace leasehold
