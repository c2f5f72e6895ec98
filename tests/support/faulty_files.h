// A file system in memory that fails as real ones do: it fills up, fails a chosen operation, tears
// a write, flips a bit, and forgets at a crash what was not synced (files by fsync, names by fsync
// of their directory). The seed decides everything random. Thread-safe, so that ranks as threads
// can share one.
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

  // Limits the bytes of all files together. An append that does not fit writes the part that fits,
  // then fails.
  void set_capacity(int64_t bytes);
  void remove_capacity_limit();
  int64_t used_bytes() const;

  // Returns the number of changes to the file system so far, in the numbering of the next two
  // functions. Composite calls (create_exclusive, remove_all, make_directories) count each of their
  // steps.
  int64_t num_changes() const;
  // Lets change number `n` fail with kStorage; an append fails after half of its bytes. Later
  // changes work.
  void fail_change(int64_t n);
  // Lets the next append by the calling thread, on any of these file systems, fail in that way.
  static void fail_next_append_here();
  // Lets change number `n` fail, and every later call, reads too: the machine is down until
  // restart().
  void crash_at_change(int64_t n);
  // Lets the n-th read_at from now fail with kStorage (0 is the next one).
  void fail_read(int64_t n);

  enum class Loss {
    kNothing,   // the process died, not the machine
    kUnsynced,  // everything unsynced is gone
    // Each file and each directory keeps what was synced and, by chance, some of the rest.
    kRandom,
  };
  void crash_now();
  bool is_down() const;
  // Brings the machine up again with what survived. Locks are free and faults are cleared; the
  // capacity stays.
  void restart(Loss loss);

  // Returns the bytes of a file, for a test to inspect. Throws if the file does not exist.
  std::string content(const std::string& path) const;
  // Writes a file durably, unaffected by faults.
  void set_content(const std::string& path, std::string_view content);
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

  // The functions below expect mutex_ to be held.
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
  int64_t uptime_ = 0;  // counts restarts: a lock of an earlier uptime is void
  bool down_ = false;
};

}  // namespace leasehold
