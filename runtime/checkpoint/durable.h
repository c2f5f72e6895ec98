// The durable tier: whole checkpoints in run.dir/checkpoints/step-00000100/. Shard files are valid
// .safetensors, one per rank, and list their pieces with their digests; manifest.json says which
// file holds what and appears last, whole: a checkpoint without a manifest does not exist. Any number of ranks loads what any other
// number wrote.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"
#include "runtime/checkpoint/state.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/file_work.h"

namespace leasehold {

struct Manifest;

std::string checkpoints_path(const std::string& run_dir);
std::string checkpoint_name(int64_t step);  // "step-00000100"
// The step of such a name; nothing for any other.
std::optional<int64_t> parse_checkpoint_name(std::string_view name);

// Collective over `world` (a host-memory group). Writes `mine` of every rank as
// run_dir/checkpoints/<name>: files and then the manifest into a directory named by step and
// generation, synced, and renamed into place, which never replaces a checkpoint. From the rename on
// the checkpoint exists, and no failure takes it back. A rank's slices must not overlap another's,
// and together they must cover weight, m and v of every parameter (checked before anything is
// published: kInternal). Every rank gets the same outcome:
// - kStorage, naming file and reason: a rank could not write (disk full, ...), and what was written
//   is removed, or, where only the last sync failed, is in place; or its files did not move for the
//   limit of `work`, and then what hangs is left behind, and the slices' memory must stay until
//   work.idle();
// - kUnavailable: run_dir/generations holds a newer claim than info.generation; nothing is
//   published;
// - kBadData: that step exists already and holds other values. When it holds the same, ok without
//   writing; when it is damaged, it is replaced.
// Older checkpoints are never touched.
Status save_checkpoint(FileWork& work, const std::string& run_dir, const CheckpointInfo& info,
                       std::vector<StateSlice> mine, Communicator& world, Stream& stream);

struct CheckpointHandle {
  std::string path;
  CheckpointInfo info;
  std::shared_ptr<const Manifest> manifest;  // manifest.h
};

// A directory of checkpoints/ that holds no usable checkpoint.
struct CheckpointRejected {
  std::string path;
  std::string reason;
  // True when it has no manifest: its save was cut short, so it never was a checkpoint. False:
  // damaged.
  bool unfinished = false;
};

// Checkpoints of a run, newest first, with those that cannot be used in `rejected`. Local. An
// absent directory holds none. Only manifests are read: a damaged shard shows when it is loaded.
Result<std::vector<CheckpointHandle>> list_checkpoints(FileSystem& files,
                                                       const std::string& run_dir,
                                                       std::vector<CheckpointRejected>& rejected);
// kMissingInput (no such directory, or no manifest in it), kBadData.
Result<CheckpointHandle> open_checkpoint(FileSystem& files, const std::string& path);
// The same, or of a run.dir the newest usable one. kBadData, with the reasons, when it has some and
// none is usable.
Result<CheckpointHandle> open_newest_checkpoint(FileSystem& files, const std::string& path);

// kBadData, "checkpoint of another model", naming the first parameters that are missing, surplus or
// of another shape.
Status check_parameters(const CheckpointHandle& checkpoint,
                        const std::map<std::string, Shape>& expected);

// Local. Fills the slices' data from the checkpoint, reading only the pieces that overlap them and
// checking the digest of every piece read, with one piece (16 MiB) of memory. kBadData, naming
// file, piece and what is wrong (digest, truncation, missing file or piece, another shape:
// "checkpoint of another model"), in which case the slices' contents are undefined; kStorage when
// the storage fails.
Status load_checkpoint(FileSystem& files, const CheckpointHandle& checkpoint,
                       std::span<const StateSlice> wanted);

// Which checkpoints of a run stay.
struct KeptCheckpoints {
  int64_t newest = 2;        // so many usable ones; at least 1
  int64_t multiples_of = 0;  // not 0: those whose step is a multiple of it, for ever
  int64_t generation = 0;    // that removes: what newer ones wrote stays
};
// Removes the other checkpoints and what writers that died left behind. Damaged ones newer than the
// oldest of the newest stay for a person to look at. `usable` remembers the steps whose manifests
// were found good, so that none is read twice. Local; rank 0 only, while no save of this generation
// is under way.
Status remove_old_checkpoints(FileSystem& files, const std::string& run_dir,
                              const KeptCheckpoints& kept, std::set<int64_t>& usable);
// The second half alone.
Status remove_leftovers(FileSystem& files, const std::string& run_dir, int64_t generation);

}  // namespace leasehold
