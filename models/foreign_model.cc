#include "models/foreign_model.h"

#include <algorithm>

namespace leasehold {

Result<ForeignModel> open_foreign_model(FileSystem& files, const std::string& path) {
  if (!files.exists(path)) return error(Code::kMissingInput, "{}: no such file or folder", path);
  const bool is_folder = files.list(path).ok();
  return is_folder ? open_huggingface_folder(files, path) : open_llmc_model(files, path);
}

Status read_parameter(ForeignModel& model, size_t index, std::span<float> values) {
  std::vector<float> part;
  for (const size_t place : model.mapping.parameters[index].tensors) {
    const ForeignTensor& tensor = model.mapping.tensors[place];
    const int64_t row = tensor.stored_row_elements();
    const int64_t rows_at_once = std::max<int64_t>(1, kForeignReadElements / row);
    for (int64_t first = 0; first < tensor.stored_rows(); first += rows_at_once) {
      const int64_t count = std::min(rows_at_once, tensor.stored_rows() - first);
      part.resize(static_cast<size_t>(std::max(count * row, std::ssize(part))));
      LEASEHOLD_RETURN_IF_ERROR(
          model.weights.read(model.locations[place], first * row, count * row, part.data()));
      copy_to_parameter(tensor, first, count, part.data(), values.data());
    }
  }
  return ok_status();
}

}  // namespace leasehold
