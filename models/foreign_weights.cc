#include "models/foreign_weights.h"

#include <algorithm>
#include <utility>

#include "runtime/base/half_floats.h"
#include "runtime/checkpoint/safetensors.h"

namespace leasehold {

size_t ForeignWeights::add_file(const std::string& path, std::unique_ptr<ReadableFile> file) {
  files_.push_back({path, std::move(file)});
  return files_.size() - 1;
}

Status ForeignWeights::add(const std::string& name, const Location& location) {
  const auto [place, is_new] = tensors_.try_emplace(name, location);
  if (is_new) return ok_status();
  return error(Code::kBadData, "tensor '{}' is in {} and in {}", name, path_of(place->second),
               files_.back().path);
}

Status ForeignWeights::add_safetensors(FileSystem& files, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, files.open(path));
  LEASEHOLD_ASSIGN_OR_RETURN(const SafetensorsHeader header, read_safetensors_header(*file, path));
  const size_t index = add_file(path, std::move(file));
  for (const SafetensorsTensor& tensor : header.tensors) {
    LEASEHOLD_RETURN_IF_ERROR(
        add(tensor.key, {index, tensor.dtype, tensor.shape, header.buffer_offset + tensor.begin}));
  }
  return ok_status();
}

Result<ForeignWeights::Location> ForeignWeights::find(const std::string& name,
                                                      const std::vector<int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    return error(Code::kBadData, "{}: there is no tensor '{}'",
                 files_.empty() ? "no file" : parent_path(files_.front().path), name);
  }
  const Location& location = found->second;
  if (location.shape != shape) {
    return error(Code::kBadData, "{}: tensor '{}' has shape ({}), the configuration says ({})",
                 path_of(location), name, fmt::join(location.shape, ", "), fmt::join(shape, ", "));
  }
  if (location.dtype == "F32" || location.dtype == "BF16" || location.dtype == "F16")
    return location;
  return error(Code::kBadData,
               "{}: tensor '{}' is {}; F32, BF16 and F16 can be read: convert it to one of them",
               path_of(location), name, location.dtype);
}

Status ForeignWeights::read(const Location& location, int64_t first, int64_t count, float* out) {
  ReadableFile& file = *files_[location.file].file;
  if (location.dtype == "F32") {
    constexpr auto kBytes = static_cast<int64_t>(sizeof(float));
    return file.read_at(location.offset + first * kBytes, out, count * kBytes);
  }
  constexpr auto kBytes = static_cast<int64_t>(sizeof(uint16_t));
  halves_.resize(static_cast<size_t>(std::max(count, std::ssize(halves_))));
  LEASEHOLD_RETURN_IF_ERROR(
      file.read_at(location.offset + first * kBytes, halves_.data(), count * kBytes));
  std::transform(
      halves_.begin(), halves_.begin() + count, out,
      location.dtype == "F16" ? f16_to_float : [](uint16_t bits) { return bf16_to_float(bits); });
  return ok_status();
}

}  // namespace leasehold
