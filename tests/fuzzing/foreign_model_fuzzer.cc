// Fuzzes the weights of a small Hugging Face model (the first byte chooses gpt2 or llama) and an
// llm.c model file with any bytes: they are refused, or every parameter can be read.
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/foreign_model.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

constexpr const char* kGpt2 = R"({"model_type": "gpt2", "n_layer": 1, "n_embd": 2, "n_head": 1,
  "n_positions": 1, "vocab_size": 2})";
constexpr const char* kLlama = R"({"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 2,
  "num_attention_heads": 1, "intermediate_size": 1, "max_position_embeddings": 8,
  "vocab_size": 2, "tie_word_embeddings": true})";

class BytesFile : public ReadableFile {
 public:
  explicit BytesFile(std::string_view bytes) : bytes_(bytes) {}
  int64_t size_bytes() const override { return static_cast<int64_t>(bytes_.size()); }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    if (offset < 0 || size_bytes < 0 || offset > this->size_bytes() - size_bytes)
      return error(Code::kBadData, "ends at byte {}", bytes_.size());
    std::memcpy(out, bytes_.data() + offset, static_cast<size_t>(size_bytes));
    return ok_status();
  }

 private:
  std::string_view bytes_;
};

// A folder "in" of two files, and the same weights as a file "model.bin".
class TwoFiles : public FileSystem {
 public:
  TwoFiles(std::string_view config, std::string_view weights)
      : config_(config), weights_(weights) {}
  bool exists(const std::string& path) override {
    return path == "in" || path == "in/config.json" || path == "in/model.safetensors" ||
           path == "model.bin";
  }
  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    if (!exists(path) || path == "in") return error(Code::kMissingInput, "{}", path);
    return std::unique_ptr<ReadableFile>(
        std::make_unique<BytesFile>(path == "in/config.json" ? config_ : weights_));
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    if (path != "in") return error(Code::kStorage, "{}", path);
    return std::vector<std::string>{"config.json", "model.safetensors"};
  }
  Result<std::unique_ptr<MappedFile>> map(const std::string&) override { return none(); }
  Result<std::unique_ptr<WritableFile>> create(const std::string&) override { return none(); }
  Status create_exclusive(const std::string&, std::string_view) override { return none(); }
  Status append_line(const std::string&, std::string_view) override { return none(); }
  Result<std::unique_ptr<LogFile>> open_log(const std::string&) override { return none(); }
  Status rename(const std::string&, const std::string&) override { return none(); }
  Status sync_directory(const std::string&) override { return none(); }
  Status make_directories(const std::string&) override { return none(); }
  Status remove_all(const std::string&) override { return none(); }
  Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string&) override {
    return none();
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string&, std::string_view) override {
    return none();
  }

 private:
  static Status none() { return error(Code::kStorage, "read-only"); }
  std::string_view config_, weights_;
};

void try_model(FileSystem& files, const std::string& path) {
  Result<ForeignModel> model = open_foreign_model(files, path);
  if (!model.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(model.status().code() == Code::kBadData &&
                           !model.status().message().empty());
    return;
  }
  for (size_t i = 0; i < model->mapping.parameters.size(); ++i) {
    std::vector<float> values(
        static_cast<size_t>(model->mapping.parameters[i].shape.num_elements()));
    LEASEHOLD_FUZZ_REQUIRE(read_parameter(*model, i, values).ok());
  }
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  leasehold::TwoFiles files(data[0] % 2 == 0 ? leasehold::kGpt2 : leasehold::kLlama, bytes);
  leasehold::try_model(files, "in");
  leasehold::try_model(files, "model.bin");
  return 0;
}
