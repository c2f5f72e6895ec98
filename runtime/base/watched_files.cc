#include "runtime/base/watched_files.h"

#include <algorithm>
#include <utility>

namespace leasehold {

namespace {

// Runs `operation` after begin(), and counts it once it has succeeded.
template <typename Operation>
auto watched(FileProgress& progress, const char* verb, const std::string& path,
             const Operation& operation) -> decltype(operation()) {
  LEASEHOLD_RETURN_IF_ERROR(progress.begin(verb, path));
  auto outcome = operation();
  progress.moved(0);
  LEASEHOLD_RETURN_IF_ERROR(progress.stopped());
  return outcome;
}

// Does the same block by block. `move(done, count)` moves one block.
template <typename Move>
Status watched_blocks(FileProgress& progress, const char* verb, const std::string& path,
                      int64_t size_bytes, const Move& move) {
  for (int64_t done = 0; done < size_bytes;) {
    const int64_t count = std::min(kWatchedBlockBytes, size_bytes - done);
    LEASEHOLD_RETURN_IF_ERROR(progress.begin(verb, path));
    LEASEHOLD_RETURN_IF_ERROR(move(done, count));
    progress.moved(count);
    done += count;
  }
  return progress.stopped();
}

class WatchedReadable : public ReadableFile {
 public:
  WatchedReadable(std::unique_ptr<ReadableFile> file, std::string path,
                  std::shared_ptr<FileProgress> progress)
      : file_(std::move(file)), path_(std::move(path)), progress_(std::move(progress)) {}
  int64_t size_bytes() const override { return file_->size_bytes(); }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    return watched_blocks(
        *progress_, "reading", path_, size_bytes, [&](int64_t done, int64_t count) {
          return file_->read_at(offset + done, static_cast<char*>(out) + done, count);
        });
  }

 private:
  std::unique_ptr<ReadableFile> file_;
  std::string path_;
  std::shared_ptr<FileProgress> progress_;
};

class WatchedWritable : public WritableFile {
 public:
  WatchedWritable(std::unique_ptr<WritableFile> file, std::string path,
                  std::shared_ptr<FileProgress> progress)
      : file_(std::move(file)), path_(std::move(path)), progress_(std::move(progress)) {}
  Status append(const void* data, int64_t size_bytes) override {
    return watched_blocks(*progress_, "writing", path_, size_bytes,
                          [&](int64_t done, int64_t count) {
                            return file_->append(static_cast<const char*>(data) + done, count);
                          });
  }
  Status overwrite(int64_t offset, const void* data, int64_t size_bytes) override {
    return watched_blocks(
        *progress_, "writing", path_, size_bytes, [&](int64_t done, int64_t count) {
          return file_->overwrite(offset + done, static_cast<const char*>(data) + done, count);
        });
  }
  Status sync() override {
    return watched(*progress_, "syncing", path_, [&] { return file_->sync(); });
  }
  Status close() override {
    return watched(*progress_, "closing", path_, [&] { return file_->close(); });
  }

 private:
  std::unique_ptr<WritableFile> file_;
  std::string path_;
  std::shared_ptr<FileProgress> progress_;
};

class WatchedDirectory : public OpenDirectory {
 public:
  WatchedDirectory(std::unique_ptr<OpenDirectory> directory, std::string path,
                   std::shared_ptr<FileProgress> progress)
      : directory_(std::move(directory)), path_(std::move(path)), progress_(std::move(progress)) {}
  Result<std::vector<std::string>> list() override {
    return watched(*progress_, "listing", path_, [&] { return directory_->list(); });
  }
  Result<std::string> read(const std::string& name, int64_t limit_bytes) override {
    return watched(*progress_, "reading", join_path(path_, name),
                   [&] { return directory_->read(name, limit_bytes); });
  }
  Status remove(const std::string& name) override {
    return watched(*progress_, "removing", join_path(path_, name),
                   [&] { return directory_->remove(name); });
  }
  Status sync() override {
    return watched(*progress_, "syncing", path_, [&] { return directory_->sync(); });
  }
  Status remove_name_if_empty() override {
    return watched(*progress_, "removing", path_,
                   [&] { return directory_->remove_name_if_empty(); });
  }

 private:
  std::unique_ptr<OpenDirectory> directory_;
  std::string path_;
  std::shared_ptr<FileProgress> progress_;
};

class WatchedFiles : public FileSystem {
 public:
  WatchedFiles(FileSystem& base, std::shared_ptr<FileProgress> progress)
      : base_(base), progress_(std::move(progress)) {}

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    auto opened = watched(*progress_, "opening", path, [&] { return base_.open(path); });
    LEASEHOLD_RETURN_IF_ERROR(opened.status());
    return std::unique_ptr<ReadableFile>(
        new WatchedReadable(std::move(opened).value(), path, progress_));
  }
  Result<std::unique_ptr<MappedFile>> map(const std::string& path) override {
    return watched(*progress_, "mapping", path, [&] { return base_.map(path); });
  }
  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    auto created = watched(*progress_, "creating", path, [&] { return base_.create(path); });
    LEASEHOLD_RETURN_IF_ERROR(created.status());
    return std::unique_ptr<WritableFile>(
        new WatchedWritable(std::move(created).value(), path, progress_));
  }
  Status create_exclusive(const std::string& path, std::string_view content) override {
    return watched(*progress_, "creating", path,
                   [&] { return base_.create_exclusive(path, content); });
  }
  Status append_line(const std::string& path, std::string_view line) override {
    return watched(*progress_, "appending to", path, [&] { return base_.append_line(path, line); });
  }
  Result<std::unique_ptr<LogFile>> open_log(const std::string& path) override {
    return watched(*progress_, "opening", path, [&] { return base_.open_log(path); });
  }
  Status rename(const std::string& from, const std::string& to) override {
    return watched(*progress_, "renaming", from, [&] { return base_.rename(from, to); });
  }
  Status sync_directory(const std::string& path) override {
    return watched(*progress_, "syncing", path, [&] { return base_.sync_directory(path); });
  }
  Status make_directories(const std::string& path) override {
    return watched(*progress_, "making", path, [&] { return base_.make_directories(path); });
  }
  Status remove_all(const std::string& path) override {
    return watched(*progress_, "removing", path, [&] { return base_.remove_all(path); });
  }
  bool exists(const std::string& path) override {
    const Status begun = progress_->begin("looking at", path);
    const bool found = begun.ok() && base_.exists(path);
    progress_->moved(0);
    return found;
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    return watched(*progress_, "listing", path, [&] { return base_.list(path); });
  }
  Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string& path) override {
    auto opened = watched(*progress_, "opening", path, [&] { return base_.open_directory(path); });
    LEASEHOLD_RETURN_IF_ERROR(opened.status());
    return std::unique_ptr<OpenDirectory>(
        new WatchedDirectory(std::move(opened).value(), path, progress_));
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path, std::string_view owner) override {
    return watched(*progress_, "locking", path, [&] { return base_.lock(path, owner); });
  }

 private:
  FileSystem& base_;
  std::shared_ptr<FileProgress> progress_;
};

}  // namespace

Status FileProgress::begin(const char* verb, const std::string& path) {
  std::lock_guard lock(mutex_);
  if (stop_) return stop_reason_;
  at_ = fmt::format("{} {}", verb, path);
  return ok_status();
}

void FileProgress::moved(int64_t bytes) {
  bytes_ += bytes;
  ++num_moves_;
  if (counter_) ++*counter_;
}

void FileProgress::stop(const Status& reason) {
  std::lock_guard lock(mutex_);
  if (stop_) return;
  stop_reason_ = reason;
  stop_ = true;
}

Status FileProgress::stopped() const {
  if (!stop_) return ok_status();
  std::lock_guard lock(mutex_);
  return stop_reason_;
}

std::string FileProgress::at() const {
  std::lock_guard lock(mutex_);
  return at_;
}

std::unique_ptr<FileSystem> watch_files(FileSystem& base, std::shared_ptr<FileProgress> progress) {
  return std::make_unique<WatchedFiles>(base, std::move(progress));
}

}  // namespace leasehold
