// Follows what one piece of work does with files, so that somebody else can see whether it moves,
// say where it is, and have it end between two operations. A file operation that hangs in the
// system cannot be ended; it can be seen and left behind.
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
  // `what` says what the work is for, until its first operation. `counter`, unless it is null, is
  // increased with every movement: one for the work of a whole process.
  explicit FileProgress(std::string what, std::shared_ptr<std::atomic<int64_t>> counter = nullptr)
      : at_(std::move(what)), counter_(std::move(counter)) {}

  // Before an operation ("writing", a path). The reason of stop() once it was called.
  Status begin(const char* verb, const std::string& path);
  // After an operation, or a part of one, that succeeded.
  void moved(int64_t bytes);
  // Lets every later operation fail with `reason`. The first reason stays.
  void stop(const Status& reason);
  Status stopped() const;

  int64_t num_moves() const { return num_moves_; }  // changes whenever the work gets on
  int64_t bytes() const { return bytes_; }
  std::string at() const;  // "writing /runs/a/x", the newest operation

 private:
  mutable std::mutex mutex_;
  std::string at_;
  Status stop_reason_;
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> num_moves_{0};
  std::atomic<int64_t> bytes_{0};
  std::shared_ptr<std::atomic<int64_t>> counter_;
};

// The files of `base`, which must outlive the result and what it opened. Large reads and writes go
// in blocks of kWatchedBlockBytes, each of which counts; an operation under way when the work is
// stopped still completes, and then fails, so that its caller touches no memory any more.
inline constexpr int64_t kWatchedBlockBytes = int64_t{8} << 20;
std::unique_ptr<FileSystem> watch_files(FileSystem& base, std::shared_ptr<FileProgress> progress);

}  // namespace leasehold
