// The durable tier: whole checkpoints in run.dir/checkpoints/step-00000100/. Shard files are valid .safetensors, one per
// rank; manifest.json lists every piece with its digest and is renamed into place last: a checkpoint without a manifest
// does not exist. Any number of ranks loads what any other number wrote.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/checkpoint/state.h"
#include "runtime/comm/communicator.h"

namespace leasehold {

// What a checkpoint says of itself besides the pieces.
struct CheckpointInfo {
  int64_t step = 0;               // optimizer steps done
  uint64_t seed = 0;
  uint64_t data_position = 0;     // global index of the next training sample
  std::string lineage;            // names the run's history; a fork starts a new one
  int64_t generation = 0;
  // Identity keys (job file key -> value as text): a resume under others is refused.
  std::map<std::string, std::string> identity;
  // The model's description (family and sizes) and the tokenizer, so that a checkpoint can be sampled from on its own.
  std::map<std::string, std::string> model;
  std::string tokenizer_json;     // content of tokenizer.json, or empty
  std::string arithmetic_class;   // digest of the job's operations on fixed inputs, see train/arithmetic_class.h
};

std::string checkpoint_name(int64_t step);  // "step-00000100"

// Collective over `world` (a host-memory group). Writes `mine` of every rank as run_dir/checkpoints/<name>: files under
// temporaries tagged with the generation, fsync, rename; then rank 0 publishes the manifest. A rank's slices must not
// overlap another's, and together they must cover every tensor (checked before the manifest is written). When that step
// exists already: ok if its digests agree, else kStorage. kStorage, naming file and reason, on any rank's failure (disk
// full, ...): every rank gets the failure, what was written is removed and older checkpoints are untouched.
Status save_checkpoint(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info,
                       std::span<const StateSlice> mine, Communicator& world, Stream& stream, Deadline deadline);

struct CheckpointRejected {
  std::string path;
  std::string reason;
};

// The newest checkpoint in run_dir whose manifest can be read, or one named by path. Local.
struct CheckpointHandle {
  std::string path;
  CheckpointInfo info;
};

// Checkpoints of a run, newest first, with those that cannot be used (unreadable manifest) in `rejected`.
Result<std::vector<CheckpointHandle>> list_checkpoints(FileSystem& files, const std::string& run_dir,
                                                       std::vector<CheckpointRejected>& rejected);
// kMissingInput, kBadData.
Result<CheckpointHandle> open_checkpoint(FileSystem& files, const std::string& path);

// Local. Fills the slices' data from the checkpoint, reading only the pieces that overlap them and checking the digest
// of every piece read. kBadData, naming file, parameter and what is wrong (digest, truncation, missing file or piece,
// another shape: "checkpoint of another model"), in which case the slices' contents are undefined.
Status load_checkpoint(FileSystem& files, const CheckpointHandle& checkpoint, std::span<const StateSlice> wanted);

// Removes all but the `keep` newest checkpoints (keep >= 1), and leftovers of writers that died. Local; rank 0 only.
Status remove_old_checkpoints(FileSystem& files, const std::string& run_dir, int64_t keep);

}  // namespace leasehold
