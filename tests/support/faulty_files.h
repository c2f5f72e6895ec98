// A file system in memory that fails as real ones do: it fills up, fails a chosen operation, tears
// a write, flips a bit, and forgets at a crash what was not synced (files by fsync, names by fsync
// of their directory). Whatever is random comes from the seed. Thread-safe, so that ranks as
// threads can share one.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"

namespace leasehold {

class FaultyFiles : public FileSystem {
 public:
  explicit FaultyFiles(uint64_t seed = 0);
  ~FaultyFiles() override;

  // Bytes that all files together may hold. An append that does not fit writes what fits, then
  // fails.
  void set_capacity(int64_t bytes);
  void remove_capacity_limit();
  int64_t used_bytes() const;

  // Changes to the file system so far, each counted once: what the next two number. Composite calls
  // (create_exclusive, remove_all, make_directories) count each of their steps.
  int64_t num_changes() const;
  // Change number `n` fails with kStorage, an append after half of its bytes; later ones work
  // again.
  void fail_change(int64_t n);
  // The next append by the calling thread, to whichever of these file systems, fails in that way.
  static void fail_next_append_here();
  // Change number `n`, and every call after it, reads too, fails: the machine is down until
  // restart().
  void crash_at_change(int64_t n);
  // The n-th read_at from now fails with kStorage (0 is the next).
  void fail_read(int64_t n);

  enum class Loss {
    kNothing,   // the process died, not the machine
    kUnsynced,  // everything that was not synced is gone
    kRandom,  // each file and each directory keeps what was synced and, by chance, some of the rest
  };
  void crash_now();
  bool is_down() const;
  // Up again, with what survived. Locks are free, faults are cleared; the capacity stays.
  void restart(Loss loss);

  // The bytes of a file, for a test to look at or to damage. A missing file fails the test's own
  // check (throws).
  std::string content(const std::string& path) const;
  void set_content(const std::string& path,
                   std::string_view content);  // durably, outside all faults
  void flip_bit(const std::string& path, int64_t bit);

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override;
  Result<std::unique_ptr<MappedFile>> map(const std::string& path) override;
  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override;
  Status create_exclusive(const std::string& path, std::string_view content) override;
  Status append_line(const std::string& path, std::string_view line) override;
  Result<std::unique_ptr<LogFile>> open_log(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status sync_directory(const std::string& path) override;
  Status make_directories(const std::string& path) override;
  Status remove_all(const std::string& path) override;
  bool exists(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;
  Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path, std::string_view owner) override;

 private:
  struct Node;
  class Reader;
  class Mapping;
  class Writer;
  class Lock;
  class Directory;
  class Log;
  using NodePtr = std::shared_ptr<Node>;

  // All of these expect mutex_ to be held.
  NodePtr find(const std::string& path) const;
  NodePtr find_file(const std::string& path) const;
  Result<NodePtr> find_directory_of(const std::string& path) const;
  Result<NodePtr> create_node(const std::string& path);
  Status change(const std::string& what, const std::string& path);
  Status down(const std::string& path) const;
  Status append(Node& node, const std::string& path, std::string_view bytes);
  Status remove_entry(Node& directory, const std::string& name, const std::string& path);
  void lose(Node& node, Loss loss);
  int64_t used_bytes(const Node& node) const;

  mutable std::recursive_mutex mutex_;
  std::mt19937_64 random_;
  NodePtr root_;
  int64_t capacity_bytes_ = INT64_MAX;
  int64_t num_changes_ = 0;
  int64_t failing_change_ = -1;
  int64_t crashing_change_ = -1;
  int64_t reads_until_failure_ = -1;
  int64_t next_temporary_ = 0;
  int64_t uptime_ = 0;  // counts restarts: a lock of an earlier one is void
  bool down_ = false;
};

}  // namespace leasehold
