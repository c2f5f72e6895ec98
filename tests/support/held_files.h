// A file system that is slow, or that hangs until a test releases it, as a network's file system
// may. It holds every operation on a path that contains a given text. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

class HeldFiles : public FileSystem {
 public:
  // Wraps `base`, which must outlive this object. Files that it opened must not outlive it.
  explicit HeldFiles(FileSystem& base) : base_(base) {}

  // Lets operations on paths that contain `part` hang from now on, until release().
  void hold(const std::string& part);
  // Lets each operation on such a path take `seconds` longer from now on.
  void slow_down(const std::string& part, double seconds);
  // Calls `hook` before each operation, so that a test can let another writer act there.
  void set_hook(std::function<void()> hook);
  // Releases all operations, present and future.
  void release();
  int num_held() const;  // operations that hang now
  // Waits until that many operations hang; false after `limit_s`.
  bool wait_held(int number, double limit_s = 20);

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
  class Reader;
  class Writer;
  class Directory;
  class Log;
  void pass(const std::string& path);

  FileSystem& base_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> hook_;
  std::string held_, slow_;
  double seconds_ = 0;
  int num_held_ = 0;
};

}  // namespace leasehold
