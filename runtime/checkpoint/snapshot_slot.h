// Places for snapshots in a node's shared memory, which outlive the process that wrote them. A slot
// is two files of one directory (/dev/shm): NAME.safetensors, a shard as the durable tier writes
// it, in memory that is reserved at once and for good; and NAME.json, which says what the shard is.
// A slot without its NAME.json holds nothing.
//
// Everybody on the machine may write to such a directory. So slots are opened by private_files()
// (base/files.h) alone: a link, another user's file, or one that others may open is none.
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

// Bytes that the file system of `directory` has left; kStorage.
Result<int64_t> free_bytes_of(const std::string& directory);

// A number that two directories have in common when they lie in the same memory: of the machine's
// boot and the file system. kStorage.
Result<int64_t> identity_of_memory(const std::string& directory);

// Where slots lie.
struct SlotDirectory {
  std::string path = kSharedMemory;
  // Called before memory is reserved: a reservation that does not fit is refused.
  std::function<Result<int64_t>(const std::string&)> free_bytes = free_bytes_of;
};

// "leasehold-<16 hexadecimal digits>-": what the names of a run's files in shared memory begin
// with; the digits are the XXH3-64 of its lineage.
std::string lineage_prefix(const std::string& lineage);

// Whose snapshot a slot holds.
struct SlotName {
  int64_t generation = 0;
  int64_t rank = 0;      // whose state it is
  bool is_copy = false;  // held for a rank of another node
  int64_t index = 0;     // drawn at random, so that nobody can take the name before
  std::string node;      // where it lies (virtual nodes share a directory)
  bool operator==(const SlotName&) const = default;
};
int64_t draw_slot_index();
// "leasehold-0123456789abcdef-g3-r0-own-1@texas-a", "...-copy-0@...".
std::string slot_name(const std::string& prefix, const SlotName& name);
// Nothing for any other name, or one of another run.
std::optional<SlotName> parse_slot_name(const std::string& prefix, std::string_view name);

class SnapshotSlot {
 public:
  // Takes all of the memory now (posix_fallocate: a file that is merely truncated to its size ends
  // its writer with SIGBUS once the memory is full), readable by its owner alone. Replaces what an
  // earlier process of this user left under the name. kStorage, naming directory and size, when
  // there is not enough; kStorage, naming the owner, when another user has the name.
  static Result<std::unique_ptr<SnapshotSlot>> reserve(const SlotDirectory& directory,
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
  // Gives the memory back: the files go, and what is mapped goes with this object.
  void remove();

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

// Names of the slots of a run in a directory that hold something, sorted. Local.
Result<std::vector<std::string>> list_slots(const std::string& directory,
                                            const std::string& prefix);
// A slot's own words about itself, NAME.json: sealed (snapshot_description.h), not yet believed.
// kBadData when it is no private file.
Result<std::string> read_slot(const std::string& directory, const std::string& name);
// Removes those of a run's files for which `surplus` says so; returns how many bytes that frees.
// Another user's are passed over. Local; what another process has mapped lives on for it alone.
using SlotChoice = std::function<bool(const std::string& slot, const SlotName&)>;
Result<int64_t> remove_slots(const std::string& directory, const std::string& prefix,
                             const SlotChoice& surplus);
// Returns how many bytes the files take for which `chosen` says so. Local.
Result<int64_t> size_of_slots(const std::string& directory, const std::string& prefix,
                              const SlotChoice& chosen);

}  // namespace leasehold
