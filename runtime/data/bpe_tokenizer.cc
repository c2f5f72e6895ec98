#include "runtime/data/bpe_tokenizer.h"

#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "runtime/data/added_tokens.h"
#include "runtime/data/piece_cache.h"
#include "runtime/data/text_splitter.h"
#include "runtime/data/unicode_nfc.h"

namespace leasehold {

namespace {

class BpeTokenizer : public Tokenizer {
 public:
  // Makes the tokenizer. `added` is description.added with final ids.
  BpeTokenizer(BpeVocabulary vocabulary, TextSplitter splitter, const BpeDescription& description,
               std::unique_ptr<NfcNormalizer> nfc, const std::vector<AddedToken>& added)
      : vocabulary_(std::move(vocabulary)),
        splitter_(std::move(splitter)),
        nfc_(std::move(nfc)),
        first_(collect(added, false)),
        second_(collect(added, true)),
        json_(description.json.empty() ? write_huggingface_tokenizer(description)
                                       : description.json) {}

  std::string_view name() const override { return "byte-level BPE"; }
  int64_t vocab_size() const override { return vocabulary_.num_ids(); }
  std::optional<int32_t> token_id(std::string_view content) const override {
    return vocabulary_.find(content);
  }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    if (text.size() > kMaxTextBytes) {
      return error(Code::kBadData, "a text of {} bytes; at most {} can be encoded at once",
                   text.size(), kMaxTextBytes);
    }
    std::unique_ptr<Worker> worker = take_worker();
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 3);
    Status status;
    const auto encode_piece = [&](std::string_view piece) {
      if (piece.size() > kMaxPieceBytes) status = too_long(piece);
      if (!status.ok()) return;
      worker->cache.append(piece, ids, [&](std::string_view missed, std::vector<int32_t>& out) {
        vocabulary_.merge(missed, worker->merging, out);
      });
    };
    const auto encode_text = [&](std::string_view part) {
      if (!status.ok()) return;
      const Status split = splitter_.split(part, worker->splitting, encode_piece);
      if (status.ok()) status = split;
    };
    const auto add = [&](int32_t id) { ids.push_back(id); };
    const auto encode_part = [&](std::string_view part) {
      if (nfc_) part = nfc_->normalize(part, worker->normalized);
      split_at_added(second_, part, encode_text, add);
    };
    split_at_added(first_, text, encode_part, add);
    give_back(std::move(worker));
    if (!status.ok()) return status;
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || ids[i] >= vocab_size()) {
        return error(Code::kBadData,
                     "token {} is {}, which the tokenizer's vocabulary does not have (ids 0 to {})",
                     i, ids[i], vocab_size() - 1);
      }
      // An id without a token, between ids with one, has no text, as in Hugging Face's library.
      text += vocabulary_.bytes(ids[i]);
    }
    return text;
  }

  int64_t separable_prefix(std::string_view text) const override {
    for (size_t at = text.size(); at-- > 1;) {
      if (splitter_.may_cut(text, at) && may_cut_normal(text, at)) return static_cast<int64_t>(at);
    }
    return 0;
  }

 protected:
  std::string description() const override { return json_; }

 private:
  // Positions within a text are 32 bits.
  static constexpr size_t kMaxTextBytes = size_t{1} << 30;
  // Merging takes about 32 bytes for each byte of a piece, on each thread.
  static constexpr size_t kMaxPieceBytes = size_t{4} << 20;
  static constexpr size_t kShownBytes = 24;

  static Status too_long(std::string_view piece) {
    std::string_view begin = piece.substr(0, kShownBytes);
    while (!begin.empty() && utf8_prefix_bytes(begin) < begin.size()) begin.remove_suffix(1);
    return error(Code::kBadData,
                 "{} bytes that the tokenizer's pattern takes for one piece (it begins '{}'); at "
                 "most {}: break it by spaces or lines, or leave it out",
                 piece.size(), begin, kMaxPieceBytes);
  }

  // The working memory of a call; reused, so that the cache stays warm.
  struct Worker {
    explicit Worker(const TextSplitter& splitter) : splitting(splitter.make_scratch()) {}
    TextSplitter::Scratch splitting;
    BpeScratch merging;
    PieceCache cache;
    std::string normalized;
  };

  AddedTokens collect(const std::vector<AddedToken>& added, bool normalized) const {
    std::vector<AddedTokens::Token> tokens;
    for (const AddedToken& token : added) {
      if (token.normalized != normalized) continue;
      std::string room;
      const std::string_view content =
          nfc_ && normalized ? nfc_->normalize(token.content, room) : token.content;
      tokens.push_back(
          {std::string(content), static_cast<int32_t>(token.id), token.lstrip, token.rstrip});
    }
    return AddedTokens(std::move(tokens));
  }

  // Returns true if normalization does not change the characters that may_cut has examined.
  bool may_cut_normal(std::string_view text, size_t at) const {
    if (!nfc_) return true;
    const auto stable_before = [&](size_t end) {
      const size_t begin = utf8_previous(text, end);
      return nfc_->is_stable(text.substr(begin, end - begin));
    };
    const std::string_view next = text.substr(at);
    return nfc_->is_stable(next.substr(0, utf8_character_bytes(next))) && stable_before(at) &&
           (text[at - 1] != '\n' || stable_before(at - 1));
  }

  std::unique_ptr<Worker> take_worker() const {
    {
      std::lock_guard lock(mutex_);
      if (!workers_.empty()) {
        std::unique_ptr<Worker> worker = std::move(workers_.back());
        workers_.pop_back();
        return worker;
      }
    }
    return std::make_unique<Worker>(splitter_);
  }
  void give_back(std::unique_ptr<Worker> worker) const {
    std::lock_guard lock(mutex_);
    workers_.push_back(std::move(worker));
  }

  BpeVocabulary vocabulary_;
  TextSplitter splitter_;
  std::unique_ptr<NfcNormalizer> nfc_;  // null: text is not normalized
  AddedTokens first_, second_;
  std::string json_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker>> workers_;  // the idle ones
};

// Turns a refusal into one that leaves the tokenizer to Hugging Face's library.
Status left_to_library(const Status& status) {
  return Status(Code::kUnavailable, status.message());
}

// Gives added tokens the ids that Hugging Face's library gives them, whatever the file says: ids of
// the vocabulary, or the next ones after it. Tokens given twice count once. kBadData for an id of
// another token.
Result<std::vector<AddedToken>> number_added(const BpeDescription& description,
                                             const BpeVocabulary& vocabulary,
                                             const std::string& file,
                                             std::vector<std::string>& notices) {
  std::unordered_map<std::string_view, int64_t> ids;
  for (const auto& [token, id] : description.source.vocab) ids.emplace(token, id);
  auto next = static_cast<int64_t>(ids.size());
  std::unordered_set<std::string_view> seen;
  std::vector<AddedToken> numbered;
  for (const AddedToken& token : description.added) {
    if (!seen.insert(token.content).second) continue;
    numbered.push_back(token);
    int64_t& id = numbered.back().id;
    const auto found = ids.find(token.content);
    if (found != ids.end()) {
      id = found->second;
    } else if (!vocabulary.has(next)) {  // otherwise the library's versions differ
      id = next++;
    }
    if (id == token.id) continue;
    if (vocabulary.has(token.id)) {
      return error(Code::kBadData,
                   "{}: the added token '{}' has the id {} of '{}'; give it its own", file,
                   token.content, token.id,
                   bytes_to_printable(vocabulary.bytes(static_cast<int32_t>(token.id))));
    }
    notices.push_back(fmt::format(
        "{}: the added token '{}' has the id {}, as Hugging Face's library numbers it, not {}",
        file, token.content, id, token.id));
  }
  return numbered;
}

Status check_added(const AddedToken& token, const TextSplitter& splitter, const NfcNormalizer* nfc,
                   const std::string& file) {
  std::string room;
  const std::string_view normal = nfc ? nfc->normalize(token.content, room) : token.content;
  if (splitter.may_hold_cut(token.content) || splitter.may_hold_cut(normal)) {
    return error(Code::kUnavailable,
                 "{}: the added token '{}' holds a letter before a space or newline, which is not "
                 "implemented",
                 file, token.content);
  }
  if ((token.lstrip && splitter.may_strip_over_cut(token.content, /*left=*/true)) ||
      (token.rstrip && splitter.may_strip_over_cut(token.content, /*left=*/false))) {
    return error(Code::kUnavailable,
                 "{}: the added token '{}' with {} next to a letter is not implemented", file,
                 token.content, token.lstrip ? "lstrip" : "rstrip");
  }
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_bpe_tokenizer(const BpeDescription& description,
                                                        const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(BpeVocabulary vocabulary,
                             BpeVocabulary::create(description.source, file));
  auto splitter = TextSplitter::create(description.stages, file);
  if (!splitter.ok()) return left_to_library(splitter.status());
  auto nfc = description.nfc ? std::make_unique<NfcNormalizer>() : nullptr;
  std::vector<std::string> notices;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<AddedToken> added,
                             number_added(description, vocabulary, file, notices));
  for (const AddedToken& token : added) {
    LEASEHOLD_RETURN_IF_ERROR(check_added(token, splitter.value(), nfc.get(), file));
    LEASEHOLD_RETURN_IF_ERROR(vocabulary.add_whole(token.id, token.content, file));
  }
  auto made = std::make_unique<BpeTokenizer>(std::move(vocabulary), std::move(splitter).value(),
                                             description, std::move(nfc), added);
  for (std::string& notice : notices) made->add_notice(std::move(notice));
  return std::unique_ptr<Tokenizer>(std::move(made));
}

}  // namespace leasehold
