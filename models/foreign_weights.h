// The tensors of another program's files, found by name and read as floats.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "models/weight_mapping.h"
#include "runtime/base/files.h"

namespace leasehold {

class ForeignWeights {
 public:
  struct Location {
    size_t file = 0;    // index that add_file returned
    std::string dtype;  // as safetensors spells it; F32, BF16 and F16 are readable
    std::vector<int64_t> shape;
    int64_t offset = 0;  // bytes from the beginning of the file
  };

  size_t add_file(const std::string& path, std::unique_ptr<ReadableFile> file);
  // Adds a tensor. kBadData, naming both files, if the name is taken.
  Status add(const std::string& name, const Location& location);
  // Adds all tensors of the .safetensors file at `path`. kMissingInput, kBadData, kStorage.
  Status add_safetensors(FileSystem& files, const std::string& path);

  const std::map<std::string, Location>& tensors() const { return tensors_; }
  const std::string& path_of(const Location& location) const { return files_[location.file].path; }

  // Finds a tensor. kBadData, naming it, if it does not exist, has another shape, or has a dtype
  // that cannot be read.
  Result<Location> find(const std::string& name, const std::vector<int64_t>& shape) const;
  // Reads elements [first, first + count), row-major, of a location that find() returned. Uses
  // temporary memory of the same size in bytes.
  Status read(const Location& location, int64_t first, int64_t count, float* out);

 private:
  struct File {
    std::string path;
    std::unique_ptr<ReadableFile> file;
  };
  std::vector<File> files_;
  std::map<std::string, Location> tensors_;
  std::vector<uint16_t> halves_;
};

}  // namespace leasehold
