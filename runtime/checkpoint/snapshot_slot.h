// Places for snapshots in a node's shared memory, which outlive the process that wrote them. A slot
// is two files of one directory (/dev/shm): NAME.safetensors, a shard as the durable tier writes
// it, in memory that is reserved at once and for good; and NAME.json, which says what the shard is.
// A slot without its NAME.json holds nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

inline constexpr const char* kSharedMemory = "/dev/shm";

// "leasehold-<16 hexadecimal digits>-": what the names of a run's files in shared memory begin
// with; the digits are the XXH3-64 of the absolute path of its run.dir.
std::string run_prefix(const std::string& run_dir);

// Whose snapshot a slot holds.
struct SlotName {
  int64_t generation = 0;
  int64_t rank = 0;      // whose state it is
  bool is_copy = false;  // held for a rank of another node
  int64_t index = 0;     // among the slots of that rank here
  std::string node;      // where it lies (virtual nodes share a directory)
  bool operator==(const SlotName&) const = default;
};
// "leasehold-0123456789abcdef-g3-r0-own-1@texas-a", "...-copy-0@...".
std::string slot_name(const std::string& prefix, const SlotName& name);
// Nothing for any other name, or one of another run.
std::optional<SlotName> parse_slot_name(const std::string& prefix, std::string_view name);

class SnapshotSlot {
 public:
  // Takes all of the memory now (posix_fallocate: a file that is merely truncated to its size ends
  // its writer with SIGBUS once the memory is full), readable by its owner alone. Replaces what an
  // earlier process left under the name. kBadConfig, naming directory and size, when there is not
  // enough; kStorage.
  static Result<std::unique_ptr<SnapshotSlot>> reserve(const std::string& directory,
                                                       const std::string& name, int64_t size_bytes);
  ~SnapshotSlot();  // the files stay
  SnapshotSlot(const SnapshotSlot&) = delete;
  SnapshotSlot& operator=(const SnapshotSlot&) = delete;

  const std::string& name() const { return name_; }
  std::string shard_file() const { return name_ + ".safetensors"; }
  char* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }

  // Takes the description away: from here on the slot holds nothing. Before its data is touched.
  Status invalidate();
  // Puts the description in place, whole or not at all.
  Status publish(const std::string& description);

 private:
  SnapshotSlot(std::string directory, std::string name, char* data, int64_t size_bytes)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        data_(data),
        size_bytes_(size_bytes) {}

  std::string directory_;
  std::string name_;
  char* data_;
  int64_t size_bytes_;
};

// Names of the slots of a run in a directory that hold something. Local.
Result<std::vector<std::string>> list_slots(const std::string& directory,
                                            const std::string& prefix);
// Removes those of a run's files for which `surplus` says so; returns how many bytes that frees.
// Local; what another process has mapped lives on for it alone.
Result<int64_t> remove_slots(const std::string& directory, const std::string& prefix,
                             const std::function<bool(const SlotName&)>& surplus);

}  // namespace leasehold
