#include "runtime/data/reference_tokenizer.h"

#include <cstring>
#include <mutex>

#include "runtime/data/utf8.h"

namespace leasehold {

namespace {

std::string_view as_bytes(std::span<const int32_t> ids) {
  return {reinterpret_cast<const char*>(ids.data()), ids.size_bytes()};
}

class ReferenceTokenizer : public Tokenizer {
 public:
  ReferenceTokenizer(std::string json, ReferenceProgram program,
                     std::unique_ptr<ReferenceProcess> first)
      : json_(std::move(json)), program_(std::move(program)), num_ids_(first->num_ids()) {
    idle_.push_back(std::move(first));
  }

  std::string_view name() const override { return "tokenizers library"; }
  int64_t vocab_size() const override { return num_ids_; }

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
    std::memcpy(ids.data(), bytes.data(), ids.size() * sizeof(int32_t));
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids) const override {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < num_ids_) continue;
      return error(Code::kBadData,
                   "token {} is {}, which the tokenizer's vocabulary does not have (ids 0 to {})",
                   i, ids[i], num_ids_ - 1);
    }
    return ask('D', as_bytes(ids), 'T');
  }

  int64_t separable_prefix(std::string_view) const override { return 0; }
  int64_t max_text_bytes() const override { return kMaxReferenceTextBytes; }

  std::optional<int32_t> token_id(std::string_view content) const override {
    const auto answer = ask('N', content, 'I');
    int32_t id = -1;
    if (!answer.ok() || answer.value().size() != sizeof(id)) return std::nullopt;
    std::memcpy(&id, answer.value().data(), sizeof(id));
    return id < 0 ? std::nullopt : std::optional<int32_t>(id);
  }

 protected:
  std::string description() const override { return json_; }

 private:
  // A process that failed is ended, not kept.
  Result<std::string> ask(char kind, std::string_view content, char expected) const {
    std::unique_ptr<ReferenceProcess> process = take();
    if (!process) {
      LEASEHOLD_ASSIGN_OR_RETURN(process, ReferenceProcess::start(program_, json_));
    }
    auto answer = process->ask(kind, content, expected);
    if (answer.ok() || answer.status().code() == Code::kBadData) {
      std::lock_guard lock(mutex_);
      idle_.push_back(std::move(process));
    }
    return answer;
  }

  std::unique_ptr<ReferenceProcess> take() const {
    std::lock_guard lock(mutex_);
    if (idle_.empty()) return nullptr;
    std::unique_ptr<ReferenceProcess> process = std::move(idle_.back());
    idle_.pop_back();
    return process;
  }

  std::string json_;
  ReferenceProgram program_;
  int64_t num_ids_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<ReferenceProcess>> idle_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> create_reference_tokenizer(std::string_view json,
                                                              const std::string& file,
                                                              const std::string& reason,
                                                              const ReferenceProgram& program) {
  auto process = ReferenceProcess::start(program, json);
  if (!process.ok()) {
    return process.status().annotated(
        fmt::format("{} here, so Hugging Face's library has to read {}", reason, file));
  }
  const std::string version = process.value()->version();
  auto made =
      std::make_unique<ReferenceTokenizer>(std::string(json), program, std::move(process).value());
  made->add_notice(fmt::format("{} here: tokens are those of the tokenizers library {} of {}",
                               reason, version, program.python));
  return std::unique_ptr<Tokenizer>(std::move(made));
}

}  // namespace leasehold
