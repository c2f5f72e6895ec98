// Reads pieces of one checkpoint, each checked against its digest before a byte of it is used.
// Keeps files open between calls. Local, one thread at a time. For what reads
// whole checkpoints; restoring goes through load_checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"

namespace leasehold {

class CheckpointReader {
 public:
  // `files` must outlive the reader.
  CheckpointReader(FileSystem& files, const CheckpointHandle& checkpoint);

  // As load_checkpoint.
  Status load(std::span<const StateSlice> wanted);

  // The piece's elements in the reader's buffer, valid until the next call. Errors as
  // load_checkpoint.
  Result<const float*> read(const Piece& piece);

 private:
  struct OpenFile {
    std::unique_ptr<ReadableFile> file;
    SafetensorsHeader header;
  };
  Result<OpenFile*> open(int64_t index);
  std::string path_of(int64_t index) const;

  FileSystem& files_;
  std::string path_;
  std::shared_ptr<const Manifest> manifest_;
  std::map<int64_t, OpenFile> open_;
  std::vector<float> buffer_;
};

}  // namespace leasehold
