// Follows what one piece of work does with files, so that others can see whether it moves, say
// where it is, and end it between two operations. A file operation that hangs in the system cannot
// be ended, but it can be noticed and abandoned.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Counts what a piece of work has done so far. Thread-safe.
class FileProgress {
 public:
  // Follows work called `what`, which at() returns until the first operation. Every movement also
  // increases `counter` unless it is null: one counter may serve a whole process.
  explicit FileProgress(std::string what, std::shared_ptr<std::atomic<int64_t>> counter = nullptr)
      : at_(std::move(what)), counter_(std::move(counter)) {}

  // Announces an operation ("writing", a path). Returns the reason of stop() after it was called.
  Status begin(const char* verb, const std::string& path);
  // Counts an operation, or a part of one, that has succeeded.
  void moved(int64_t bytes);
  // Makes every later operation fail with `reason`. Only the first reason counts.
  void stop(const Status& reason);
  Status stopped() const;

  int64_t num_moves() const { return num_moves_; }  // changes whenever the work advances
  int64_t bytes() const { return bytes_; }
  std::string at() const;  // the newest operation: "writing /runs/a/x"

 private:
  mutable std::mutex mutex_;
  std::string at_;
  Status stop_reason_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> num_moves_{0};
  std::atomic<int64_t> bytes_{0};
  std::shared_ptr<std::atomic<int64_t>> counter_;
};

// Returns the files of `base`, which must outlive the result and everything that it opened. Large
// reads and writes go in blocks of kWatchedBlockBytes, and each block counts. If the work is
// stopped during an operation, the operation completes and then fails, so that the caller's memory
// is not touched any more.
inline constexpr int64_t kWatchedBlockBytes = int64_t{8} << 20;
std::unique_ptr<FileSystem> watch_files(FileSystem& base, std::shared_ptr<FileProgress> progress);

}  // namespace leasehold
