#include "models/model_export.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "models/companion_files.h"
#include "models/huggingface_config.h"
#include "models/huggingface_index.h"
#include "models/weight_mapping.h"
#include "runtime/base/half_floats.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/publish_directory.h"
#include "runtime/checkpoint/safetensors.h"

namespace leasehold {

namespace {

constexpr int64_t kChunkElements = int64_t{4} << 20;

struct Dtype {
  std::string_view option;
  const char* safetensors;
  const char* torch;
  int64_t bytes;
};
constexpr Dtype kDtypes[] = {{"fp32", "F32", "float32", 4}, {"bf16", "BF16", "bfloat16", 2}};

// Tensors [begin, end) of the mapping, which go into one file.
struct OutputFile {
  std::string name;
  size_t begin = 0, end = 0;
};

std::vector<OutputFile> plan_files(const WeightMapping& mapping, const Dtype& dtype,
                                   int64_t shard_bytes) {
  std::vector<OutputFile> planned;
  int64_t filled = 0;
  for (size_t i = 0; i < mapping.tensors.size(); ++i) {
    const int64_t bytes = mapping.tensors[i].num_elements() * dtype.bytes;
    if (planned.empty() || bytes > shard_bytes - filled) {
      planned.push_back({"model.safetensors", i, i});
      filled = 0;
    }
    planned.back().end = i + 1;
    filled += bytes;
  }
  for (size_t i = 0; planned.size() > 1 && i < planned.size(); ++i)
    planned[i].name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, planned.size());
  return planned;
}

class Exporter {
 public:
  Exporter(FileSystem& files, const ExportOptions& options, const Dtype& dtype,
           const CheckpointHandle& checkpoint, const ModelConfig& config, ExportedFiles companions)
      : files_(files),
        options_(options),
        dtype_(dtype),
        config_(config),
        companions_(std::move(companions)),
        mapping_(map_huggingface(config, huggingface_prefix(config))),
        planned_(plan_files(mapping_, dtype, options.shard_bytes)),
        reader_(files, checkpoint) {}

  Status write(const std::string& directory) {
    int64_t total_bytes = 0;
    WeightMap weight_map;
    for (const OutputFile& planned : planned_) {
      LEASEHOLD_RETURN_IF_ERROR(write_weights(planned, directory));
      for (size_t i = planned.begin; i < planned.end; ++i) {
        weight_map[mapping_.tensors[i].name] = planned.name;
        total_bytes += mapping_.tensors[i].num_elements() * dtype_.bytes;
      }
    }
    if (planned_.size() > 1) {
      LEASEHOLD_RETURN_IF_ERROR(write_text(join_path(directory, "model.safetensors.index.json"),
                                           encode_huggingface_index(weight_map, total_bytes)));
    }
    for (const auto& [name, text] : companions_.texts)
      LEASEHOLD_RETURN_IF_ERROR(write_text(join_path(directory, name), text));
    summary_.tokenizer = companions_.tokenizer;
    summary_.num_files = std::ssize(planned_);
    summary_.num_tensors = std::ssize(mapping_.tensors);
    summary_.total_bytes = total_bytes;
    return write_text(join_path(directory, "config.json"),
                      encode_huggingface_config(config_, dtype_.torch, companions_.token_ids));
  }

  const ExportSummary& summary() const { return summary_; }

 private:
  Status write_text(const std::string& path, const std::string& text) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files_.create(path));
    LEASEHOLD_RETURN_IF_ERROR(file->append(text.data(), std::ssize(text)));
    LEASEHOLD_RETURN_IF_ERROR(file->sync());
    return file->close();
  }

  Status write_weights(const OutputFile& planned, const std::string& directory) {
    std::vector<SafetensorsTensor> tensors;
    int64_t offset = 0;
    for (size_t i = planned.begin; i < planned.end; ++i) {
      const ForeignTensor& tensor = mapping_.tensors[i];
      const int64_t end = offset + tensor.num_elements() * dtype_.bytes;
      tensors.push_back({tensor.name, dtype_.safetensors, tensor.shape, offset, end});
      offset = end;
    }
    // transformers requires the name of the library whose layout this is.
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string header,
                               encode_safetensors_header(tensors, {{"format", "pt"}}));
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files_.create(join_path(directory, planned.name)));
    LEASEHOLD_RETURN_IF_ERROR(file->append(header.data(), std::ssize(header)));
    for (size_t i = planned.begin; i < planned.end; ++i)
      LEASEHOLD_RETURN_IF_ERROR(write_tensor(mapping_.tensors[i], *file));
    LEASEHOLD_RETURN_IF_ERROR(file->sync());
    return file->close();
  }

  Status write_tensor(const ForeignTensor& tensor, WritableFile& file) {
    LEASEHOLD_RETURN_IF_ERROR(load(tensor.parameter));
    const int64_t row = tensor.stored_row_elements();
    const int64_t rows_at_once = std::max<int64_t>(1, kChunkElements / row);
    for (int64_t first = 0; first < tensor.stored_rows(); first += rows_at_once) {
      if (options_.stopped != nullptr && options_.stopped->load())
        return error(Code::kDrained, "stopped: {} was not written", options_.output);
      const int64_t rows = std::min(rows_at_once, tensor.stored_rows() - first);
      chunk_.resize(static_cast<size_t>(std::max(rows * row, std::ssize(chunk_))));
      copy_from_parameter(tensor, first, rows, chunk_.data(), parameter_.data());
      LEASEHOLD_RETURN_IF_ERROR(append(file, rows * row));
    }
    return ok_status();
  }

  Status append(WritableFile& file, int64_t count) {
    if (dtype_.bytes == 4) return file.append(chunk_.data(), count * dtype_.bytes);
    halves_.resize(static_cast<size_t>(std::max(count, std::ssize(halves_))));
    std::transform(chunk_.begin(), chunk_.begin() + count, halves_.begin(), float_to_bf16);
    return file.append(halves_.data(), count * dtype_.bytes);
  }

  // Loads a parameter unless it is loaded. Its tensors are next to each other, so each parameter is
  // loaded once.
  Status load(size_t index) {
    if (loaded_ == index) return ok_status();
    const MappedParameter& parameter = mapping_.parameters[index];
    loaded_ = SIZE_MAX;
    parameter_.resize(static_cast<size_t>(parameter.shape.num_elements()));
    const StateSlice slice = {
        .parameter = parameter.name,
        .kind = StateKind::kWeight,
        .global_shape = parameter.shape,
        .box = Box::whole(parameter.shape),
        .data = Tensor(parameter_.data(), DType::kF32, Shape{parameter.shape.num_elements()})};
    LEASEHOLD_RETURN_IF_ERROR(reader_.load({&slice, 1}));
    loaded_ = index;
    return ok_status();
  }

  FileSystem& files_;
  const ExportOptions& options_;
  const Dtype& dtype_;
  const ModelConfig& config_;
  ExportedFiles companions_;
  WeightMapping mapping_;
  std::vector<OutputFile> planned_;
  CheckpointReader reader_;
  size_t loaded_ = SIZE_MAX;  // the parameter in parameter_
  std::vector<float> parameter_;
  std::vector<float> chunk_;
  std::vector<uint16_t> halves_;
  ExportSummary summary_;
};

}  // namespace

Result<ExportSummary> export_model(FileSystem& files, const ExportOptions& options) {
  const auto dtype = std::ranges::find(kDtypes, options.dtype, &Dtype::option);
  if (dtype == std::end(kDtypes))
    return error(Code::kUsage, "--dtype {}: write fp32 or bf16", options.dtype);
  if (options.shard_bytes < 1)
    return error(Code::kUsage, "--shard-size {}: write a number of bytes", options.shard_bytes);
  LEASEHOLD_ASSIGN_OR_RETURN(const CheckpointHandle checkpoint,
                             open_newest_checkpoint(files, options.checkpoint));
  const Result<ModelConfig> config = model_config_from_map(checkpoint.info.model);
  if (!config.ok()) return config.status().annotated(checkpoint.path);
  std::map<std::string, Shape> shapes;
  for (const ParameterSpec& spec : describe_parameters(*config)) shapes[spec.name] = spec.shape;
  LEASEHOLD_RETURN_IF_ERROR(check_parameters(checkpoint, shapes));
  LEASEHOLD_ASSIGN_OR_RETURN(ExportedFiles companions,
                             companion_files_of(checkpoint.info, *config));
  Exporter exporter(files, options, *dtype, checkpoint, *config, std::move(companions));
  LEASEHOLD_RETURN_IF_ERROR(
      publish_directory(files, options.output, options.tag,
                        [&](const std::string& directory) { return exporter.write(directory); }));
  ExportSummary summary = exporter.summary();
  summary.checkpoint = checkpoint.path;
  return summary;
}

}  // namespace leasehold
