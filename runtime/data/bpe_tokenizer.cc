#include "runtime/data/bpe_tokenizer.h"

#include <array>
#include <mutex>

#include "runtime/data/added_tokens.h"
#include "runtime/data/piece_cache.h"
#include "runtime/data/text_splitter.h"

namespace leasehold {

namespace {

constexpr std::array kEndOfDocument = {"<|endoftext|>", "<|end_of_text|>"};

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(BpeVocabulary vocabulary, TextSplitter splitter, const BpeDescription& description)
      : vocabulary_(std::move(vocabulary)),
        splitter_(std::move(splitter)),
        first_(collect(description.added, false)),
        second_(collect(description.added, true)),
        json_(description.json.empty() ? write_huggingface_tokenizer(description)
                                       : description.json) {
    if (const auto end = find_end_of_document(description.added))
      set_own_document_tokens({.begin = std::nullopt, .ends = {*end}});
  }

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
    const auto encode_piece = [&](std::string_view piece) {
      worker->cache.append(piece, ids, [&](std::string_view missed, std::vector<int32_t>& out) {
        vocabulary_.merge(missed, worker->merging, out);
      });
    };
    Status status;
    const auto encode_text = [&](std::string_view part) {
      if (status.ok()) status = splitter_.split(part, worker->splitting, encode_piece);
    };
    const auto add = [&](int32_t id) { ids.push_back(id); };
    split_at_added(
        first_, text,
        [&](std::string_view part) { split_at_added(second_, part, encode_text, add); }, add);
    give_back(std::move(worker));
    if (!status.ok()) return status;
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!vocabulary_.has(ids[i])) {
        return error(Code::kBadData,
                     "token {} is {}, which the tokenizer's vocabulary does not have (ids 0 to {})",
                     i, ids[i], vocab_size() - 1);
      }
      text += vocabulary_.bytes(ids[i]);
    }
    return text;
  }

  int64_t separable_prefix(std::string_view text) const override {
    for (size_t at = text.size(); at-- > 1;) {
      if (splitter_.may_cut(text, at)) return static_cast<int64_t>(at);
    }
    return 0;
  }

 protected:
  std::string description() const override { return json_; }

 private:
  // Positions within a piece are 32 bits.
  static constexpr size_t kMaxTextBytes = size_t{1} << 30;

  // What a call works with; reused, so that the cache stays warm.
  struct Worker {
    explicit Worker(const TextSplitter& splitter) : splitting(splitter.make_scratch()) {}
    TextSplitter::Scratch splitting;
    BpeScratch merging;
    PieceCache cache;
  };

  static AddedTokens collect(const std::vector<AddedToken>& added, bool normalized) {
    std::vector<std::pair<std::string, int32_t>> tokens;
    for (const AddedToken& token : added) {
      if (token.normalized == normalized)
        tokens.emplace_back(token.content, static_cast<int32_t>(token.id));
    }
    return AddedTokens(std::move(tokens));
  }

  static std::optional<int32_t> find_end_of_document(const std::vector<AddedToken>& added) {
    for (const char* content : kEndOfDocument) {
      for (const AddedToken& token : added) {
        if (token.content == content) return static_cast<int32_t>(token.id);
      }
    }
    return std::nullopt;
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
  AddedTokens first_, second_;
  std::string json_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker>> workers_;  // those not in use
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_bpe_tokenizer(const BpeDescription& description,
                                                        const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(BpeVocabulary vocabulary,
                             BpeVocabulary::create(description.source, file));
  LEASEHOLD_ASSIGN_OR_RETURN(TextSplitter splitter,
                             TextSplitter::create(description.patterns, file));
  std::vector<bool> added_before;
  for (const AddedToken& token : description.added) {
    const auto id = static_cast<size_t>(token.id);
    if (splitter.may_hold_cut(token.content)) {
      return error(Code::kBadData,
                   "{}: the added token '{}' holds a letter before a space or newline, which is "
                   "not implemented; take it out of added_tokens",
                   file, token.content);
    }
    const bool twice = id < added_before.size() && added_before[id];
    const std::string* bytes =
        vocabulary.has(token.id) ? &vocabulary.bytes(static_cast<int32_t>(token.id)) : nullptr;
    if (twice || (bytes != nullptr && *bytes != token.content)) {
      return error(Code::kBadData,
                   "{}: the added token '{}' has the id {} of '{}'; give it its own", file,
                   token.content, token.id, bytes_to_printable(*bytes));
    }
    if (bytes == nullptr) vocabulary.add(token.id, token.content);
    if (id >= added_before.size()) added_before.resize(id + 1);
    added_before[id] = true;
  }
  return std::unique_ptr<Tokenizer>(
      new BpeTokenizer(std::move(vocabulary), std::move(splitter), description));
}

}  // namespace leasehold
