// The real file system, on which the n-th call that changes something fails.
#pragma once

#include <limits>
#include <memory>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

class FailingFiles : public FileSystem {
 public:
  // Call number `fail_at` (from 0) fails; with `and_all_later` all after it as well, as on a disk
  // that stays full.
  explicit FailingFiles(int fail_at, bool and_all_later = false)
      : fail_at_(fail_at), and_all_later_(and_all_later) {}

  int calls() const { return calls_; }

  Status next(const std::string& path) {
    const int call = calls_++;
    const bool fails = and_all_later_ ? call >= fail_at_ : call == fail_at_;
    return fails ? error(Code::kStorage, "writing {}: injected", path) : ok_status();
  }

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    return real_.open(path);
  }
  Result<std::unique_ptr<MappedFile>> map(const std::string& path) override {
    return real_.map(path);
  }
  Result<std::unique_ptr<WritableFile>> create(const std::string& path) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    LEASEHOLD_ASSIGN_OR_RETURN(auto file, real_.create(path));
    return std::unique_ptr<WritableFile>(new FailingWritable(*this, path, std::move(file)));
  }
  Status create_exclusive(const std::string& path, std::string_view content) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    return real_.create_exclusive(path, content);
  }
  Status append_line(const std::string& path, std::string_view line) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    return real_.append_line(path, line);
  }
  Status truncate(const std::string& path, int64_t size_bytes) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    return real_.truncate(path, size_bytes);
  }
  Status rename(const std::string& from, const std::string& to) override {
    LEASEHOLD_RETURN_IF_ERROR(next(from));
    return real_.rename(from, to);
  }
  Status sync_directory(const std::string& path) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    return real_.sync_directory(path);
  }
  Status make_directories(const std::string& path) override {
    LEASEHOLD_RETURN_IF_ERROR(next(path));
    return real_.make_directories(path);
  }
  // A full disk lets files be removed.
  Status remove_all(const std::string& path) override { return real_.remove_all(path); }
  bool exists(const std::string& path) override { return real_.exists(path); }
  Result<std::vector<std::string>> list(const std::string& path) override {
    return real_.list(path);
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path, std::string_view owner) override {
    return real_.lock(path, owner);
  }

 private:
  class FailingWritable : public WritableFile {
   public:
    FailingWritable(FailingFiles& files, std::string path, std::unique_ptr<WritableFile> real)
        : files_(files), path_(std::move(path)), real_(std::move(real)) {}
    Status append(const void* data, int64_t size_bytes) override {
      LEASEHOLD_RETURN_IF_ERROR(files_.next(path_));
      return real_->append(data, size_bytes);
    }
    Status overwrite(int64_t offset, const void* data, int64_t size_bytes) override {
      LEASEHOLD_RETURN_IF_ERROR(files_.next(path_));
      return real_->overwrite(offset, data, size_bytes);
    }
    Status sync() override {
      LEASEHOLD_RETURN_IF_ERROR(files_.next(path_));
      return real_->sync();
    }
    Status close() override {
      LEASEHOLD_RETURN_IF_ERROR(files_.next(path_));
      return real_->close();
    }

   private:
    FailingFiles& files_;
    std::string path_;
    std::unique_ptr<WritableFile> real_;
  };

  FileSystem& real_ = posix_files();
  int fail_at_;
  bool and_all_later_;
  int calls_ = 0;
};

}  // namespace leasehold
