// Reads pieces of one checkpoint, each checked against its digest before a byte of it is used.
// Reads the indexes of those files alone that hold some of what is wanted. Keeps files open, and
// indexes, between calls. Local, one thread at a time. For what reads whole checkpoints; restoring
// goes through load_checkpoint.
#pragma once

#include <cstdint>
#include <functional>
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

  // Calls `visit` with every piece of the checkpoint, and with the errors of indexes that cannot be
  // read, until it returns false.
  void for_each_piece(const std::function<bool(const Result<Piece>&)>& visit);

  // A piece to read, and the slices of `wanted` that it fills some of, by their places.
  struct Read {
    Piece piece;
    std::vector<size_t> slices;
  };
  // The reads that fill the slices, in the order of the files. kBadData, naming what is missing,
  // when the checkpoint's pieces do not hold every element of them once.
  Result<std::vector<Read>> plan_reads(std::span<const StateSlice> wanted);

 private:
  struct OpenFile {
    std::unique_ptr<ReadableFile> file;
    SafetensorsHeader header;
  };
  using Index = std::vector<StoredTensor>;
  Result<OpenFile*> open(int64_t index);
  Result<const Index*> index_of(int64_t file);
  std::string path_of(int64_t index) const;

  FileSystem& files_;
  std::string path_;
  std::shared_ptr<const Manifest> manifest_;
  std::map<int64_t, OpenFile> open_;
  std::map<int64_t, Index> indexes_;
  int64_t num_indexed_pieces_ = 0;
  std::vector<float> buffer_;
};

}  // namespace leasehold
