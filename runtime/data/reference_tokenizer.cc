#include "runtime/data/reference_tokenizer.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include <nlohmann/json.hpp>

#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

std::string_view as_bytes(std::span<const int32_t> ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size_bytes()};
}

// The ids of a tokenizer.json, as far as they are known without the library.
struct NamedIds {
  std::map<std::string, int32_t> added;
  int64_t num_ids = 0;  // largest + 1
};

const nlohmann::json& vocab_of(const nlohmann::json& root) {
  static const nlohmann::json kNone;
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object() || !model->contains("vocab")) return kNone;
  return (*model)["vocab"];
}

std::optional<int32_t> as_token_id(const nlohmann::json& id) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= INT32_MAX) return std::nullopt;
  return id.get<int32_t>();
}

// Finds the id of a text in a model's vocabulary: an object of ids, or a list of texts with scores.
std::optional<int32_t> find_in_vocab(const nlohmann::json& vocab, std::string_view content) {
  if (vocab.is_object()) {
    const auto found = vocab.find(content);
    return found == vocab.end() ? std::nullopt : as_token_id(*found);
  }
  for (size_t i = 0; vocab.is_array() && i < vocab.size(); ++i) {
    if (vocab[i].is_array() && !vocab[i].empty() && vocab[i][0] == content)
      return static_cast<int32_t>(i);
  }
  return std::nullopt;
}

NamedIds read_named_ids(const nlohmann::json& root) {
  NamedIds ids;
  const nlohmann::json& vocab = vocab_of(root);
  if (vocab.is_array()) ids.num_ids = static_cast<int64_t>(vocab.size());
  if (vocab.is_object()) {
    for (const auto& [token, id] : vocab.items())
      ids.num_ids = std::max<int64_t>(ids.num_ids, as_token_id(id).value_or(-1) + int64_t{1});
  }
  // The library itself numbers tokens that are not in the vocabulary.
  auto next = static_cast<int32_t>(vocab.is_structured() ? vocab.size() : 0);
  const auto added = root.find("added_tokens");
  if (added == root.end() || !added->is_array()) return ids;
  for (const auto& entry : *added) {
    const auto content = entry.is_object() ? entry.find("content") : entry.end();
    if (content == entry.end() || !content->is_string()) continue;
    const auto text = content->get<std::string>();
    if (ids.added.contains(text)) continue;
    const auto known = find_in_vocab(vocab, text);
    const int32_t id = known ? *known : next++;
    ids.added[text] = id;
    ids.num_ids = std::max<int64_t>(ids.num_ids, id + int64_t{1});
  }
  return ids;
}

class ReferenceTokenizer : public Tokenizer {
 public:
  ReferenceTokenizer(std::string json, std::string file, std::string reason,
                     ReferenceProgram program, NamedIds ids)
      : json_(std::move(json)),
        file_(std::move(file)),
        reason_(std::move(reason)),
        program_(std::move(program)),
        ids_(std::move(ids)) {}

  Status start() override {
    LEASEHOLD_ASSIGN_OR_RETURN(auto process, take());
    add_notice(fmt::format("{} here: tokens are those of the tokenizers library {} of {}", reason_,
                           process->version(), program_.python));
    give_back(std::move(process));
    return ok_status();
  }

  std::string_view name() const override { return "tokenizers library"; }
  int64_t vocab_size() const override { return ids_.num_ids; }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    const size_t valid = utf8_prefix_bytes(text);
    if (valid < text.size()) {
      return error(Code::kBadData,
                   "byte {} of a text is not UTF-8, which this tokenizer wants; convert the text",
                   valid);
    }
    if (static_cast<int64_t>(text.size()) > kMaxReferenceTextBytes) {
      return error(Code::kBadData,
                   "a text of {} bytes; the tokenizers library is given at most {} at once: make "
                   "it documents of JSON lines",
                   text.size(), kMaxReferenceTextBytes);
    }
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string bytes, ask('E', text, 'I'));
    std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
    if (!ids.empty()) std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int32_t));
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < ids_.num_ids) continue;
      return error(Code::kBadData,
                   "token {} is {}, which the tokenizer's vocabulary does not have (ids 0 to {})",
                   i, ids[i], ids_.num_ids - 1);
    }
    return ask('D', as_bytes(ids), 'T');
  }

  int64_t separable_prefix(std::string_view) const override { return 0; }
  int64_t max_text_bytes() const override { return kMaxReferenceTextBytes; }

  std::optional<int32_t> token_id(std::string_view content) const override {
    const auto found = ids_.added.find(std::string(content));
    if (found != ids_.added.end()) return found->second;
    const auto root = nlohmann::json::parse(json_, nullptr, /*allow_exceptions=*/false);
    return root.is_object() ? find_in_vocab(vocab_of(root), content) : std::nullopt;
  }

 protected:
  std::string description() const override { return json_; }

 private:
  // Asks an idle process, or a new one. A process that failed is ended, not kept.
  Result<std::string> ask(char kind, std::string_view content, char expected) const {
    LEASEHOLD_ASSIGN_OR_RETURN(auto process, take());
    auto answer = process->ask(kind, content, expected);
    if (answer.ok() || answer.status().code() == Code::kBadData) give_back(std::move(process));
    return answer;
  }

  Result<std::unique_ptr<ReferenceProcess>> take() const {
    {
      std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<ReferenceProcess> process = std::move(idle_.back());
        idle_.pop_back();
        return process;
      }
    }
    auto started = ReferenceProcess::start(program_, json_);
    if (!started.ok()) {
      return started.status().annotated(
          fmt::format("{} here, so Hugging Face's library has to read {}", reason_, file_));
    }
    if (started.value()->num_ids() == ids_.num_ids) return started;
    return error(Code::kBadData,
                 "{}: the tokenizers library {} counts {} ids, the file {}; save it "
                 "again with that library",
                 file_, started.value()->version(), started.value()->num_ids(), ids_.num_ids);
  }
  void give_back(std::unique_ptr<ReferenceProcess> process) const {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(process));
  }

  std::string json_, file_, reason_;
  ReferenceProgram program_;
  NamedIds ids_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<ReferenceProcess>> idle_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_reference_tokenizer(const nlohmann::json& root,
                                                              std::string_view json,
                                                              const std::string& file,
                                                              const std::string& reason,
                                                              const ReferenceProgram& program) {
  NamedIds ids = read_named_ids(root);
  if (ids.num_ids == 0) {
    return error(Code::kBadData,
                 "{}: neither model.vocab nor added_tokens name a token; take the "
                 "file again",
                 file);
  }
  return std::unique_ptr<Tokenizer>(
      new ReferenceTokenizer(std::string(json), file, reason, program, std::move(ids)));
}

}  // namespace leasehold
