// Implements open_llmc_model. The file has a header of 256 int32, then each kind of parameter over
// all layers (github.com/karpathy/llm.c, train_gpt2.c: gpt2_build_from_checkpoint,
// fill_in_parameter_sizes).
#include <algorithm>
#include <array>
#include <utility>

#include "models/foreign_model.h"
#include "runtime/base/check.h"
#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

constexpr int32_t kMagic = 20240326;
constexpr int64_t kHeaderBytes = 256 * sizeof(int32_t);

// The kinds of a block's tensors in the file's order, each for all layers at once.
constexpr std::array kBlockTensors = {"ln1w", "ln1b", "qkvw", "qkvb", "attprojw", "attprojb",
                                      "ln2w", "ln2b", "fcw",  "fcb",  "fcprojw",  "fcprojb"};

struct Header {
  ModelConfig config;
  std::string dtype;
  int64_t padded_vocab = 0;
};

Result<Header> read_header(ReadableFile& file, const std::string& path) {
  std::array<int32_t, 256> words{};
  std::string head(std::min(kFileKindBytes, static_cast<size_t>(file.size_bytes())), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, head.data(), static_cast<int64_t>(head.size())));
  LEASEHOLD_RETURN_IF_ERROR(check_file_kind(head, path, "an llm.c model file"));
  if (file.size_bytes() < kHeaderBytes) {
    return error(Code::kBadData, "{}: {} bytes, an llm.c model file begins with {}", path,
                 file.size_bytes(), kHeaderBytes);
  }
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, words.data(), kHeaderBytes));
  if (words[0] != kMagic) {
    return error(Code::kBadData,
                 "{}: not an llm.c model file (it begins with {}, not {}); a Hugging Face model is "
                 "named by its folder",
                 path, words[0], kMagic);
  }
  if (words[1] != 3 && words[1] != 5) {
    return error(Code::kBadData, "{}: version {} of llm.c's format; 3 (fp32) and 5 (bf16) are read",
                 path, words[1]);
  }
  Header header;
  header.dtype = words[1] == 3 ? "F32" : "BF16";
  header.config.sequence = words[2];
  header.config.vocab = words[3];
  header.config.layers = words[4];
  header.config.heads = words[5];
  header.config.hidden = words[6];
  header.padded_vocab = words[7];
  auto complete = complete_model_config(header.config);
  if (!complete.ok())
    return Status(Code::kBadData, complete.status().annotated(path + ": header").message());
  header.config = std::move(complete).value();
  if (header.padded_vocab < header.config.vocab) {
    return error(Code::kBadData, "{}: header: a vocabulary of {} padded to {}", path,
                 header.config.vocab, header.padded_vocab);
  }
  return header;
}

int64_t element_bytes(const Header& header) { return header.dtype == "F32" ? 4 : 2; }

// Returns the bytes of the whole file, without making a table as large as the header says.
int64_t expected_bytes(const Header& header) {
  const ModelConfig& config = header.config;
  const int64_t C = config.hidden;
  const int64_t tables = (header.padded_vocab + config.sequence) * C;
  const int64_t block = 12 * C * C + 13 * C;
  return kHeaderBytes + (tables + config.layers * block + 2 * C) * element_bytes(header);
}

// Gives every tensor its place in the file.
Status lay_out(const Header& header, size_t file, ForeignModel& model) {
  std::map<std::string, const ForeignTensor*> by_name;
  for (const ForeignTensor& tensor : model.mapping.tensors) by_name[tensor.name] = &tensor;
  int64_t offset = kHeaderBytes;
  const auto place = [&](const std::string& name, int64_t padding_elements) {
    const ForeignTensor& tensor = *by_name.at(name);
    const int64_t at = offset;
    offset += (tensor.num_elements() + padding_elements) * element_bytes(header);
    return model.weights.add(name, {file, header.dtype, tensor.shape, at});
  };
  const int64_t padding = (header.padded_vocab - header.config.vocab) * header.config.hidden;
  LEASEHOLD_RETURN_IF_ERROR(place("wte", padding));
  LEASEHOLD_RETURN_IF_ERROR(place("wpe", 0));
  for (const char* kind : kBlockTensors) {
    for (int64_t layer = 0; layer < header.config.layers; ++layer)
      LEASEHOLD_RETURN_IF_ERROR(place(fmt::format("{}.{}", kind, layer), 0));
  }
  LEASEHOLD_RETURN_IF_ERROR(place("lnfw", 0));
  LEASEHOLD_RETURN_IF_ERROR(place("lnfb", 0));
  LEASEHOLD_CHECK(offset == expected_bytes(header), "{} bytes laid out, {} expected", offset,
                  expected_bytes(header));
  return ok_status();
}

}  // namespace

Result<ForeignModel> open_llmc_model(FileSystem& files, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, files.open(path));
  LEASEHOLD_ASSIGN_OR_RETURN(const Header header, read_header(*file, path));
  const int64_t size_bytes = file->size_bytes();
  const int64_t expected = expected_bytes(header);
  if (size_bytes != expected) {
    return error(Code::kBadData, "{}: {} bytes, its header says {}{}", path, size_bytes, expected,
                 size_bytes < expected ? " (truncated?)" : "");
  }
  ForeignModel model;
  model.config = header.config;
  model.mapping = map_llmc(header.config);
  const size_t index = model.weights.add_file(path, std::move(file));
  LEASEHOLD_RETURN_IF_ERROR(lay_out(header, index, model));
  for (const ForeignTensor& tensor : model.mapping.tensors) {
    LEASEHOLD_ASSIGN_OR_RETURN(auto location, model.weights.find(tensor.name, tensor.shape));
    model.locations.push_back(std::move(location));
  }
  return model;
}

}  // namespace leasehold
