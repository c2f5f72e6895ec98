#include "tests/support/held_files.h"

#include <chrono>
#include <thread>
#include <utility>

namespace leasehold {

class HeldFiles::Reader : public ReadableFile {
 public:
  Reader(HeldFiles& held, std::string path, std::unique_ptr<ReadableFile> file)
      : held_(held), path_(std::move(path)), file_(std::move(file)) {}
  int64_t size_bytes() const override { return file_->size_bytes(); }
  Status read_at(int64_t offset, void* out, int64_t size_bytes) override {
    held_.pass(path_);
    return file_->read_at(offset, out, size_bytes);
  }

 private:
  HeldFiles& held_;
  std::string path_;
  std::unique_ptr<ReadableFile> file_;
};

class HeldFiles::Writer : public WritableFile {
 public:
  Writer(HeldFiles& held, std::string path, std::unique_ptr<WritableFile> file)
      : held_(held), path_(std::move(path)), file_(std::move(file)) {}
  Status append(const void* data, int64_t size_bytes) override {
    held_.pass(path_);
    return file_->append(data, size_bytes);
  }
  Status overwrite(int64_t offset, const void* data, int64_t size_bytes) override {
    held_.pass(path_);
    return file_->overwrite(offset, data, size_bytes);
  }
  Status sync() override {
    held_.pass(path_);
    return file_->sync();
  }
  Status close() override { return file_->close(); }

 private:
  HeldFiles& held_;
  std::string path_;
  std::unique_ptr<WritableFile> file_;
};

void HeldFiles::hold(const std::string& part) {
  std::lock_guard lock(mutex_);
  held_ = part;
}

void HeldFiles::slow_down(const std::string& part, double seconds) {
  std::lock_guard lock(mutex_);
  slow_ = part;
  seconds_ = seconds;
}

void HeldFiles::release() {
  std::lock_guard lock(mutex_);
  held_.clear();
  slow_.clear();
  changed_.notify_all();
}

int HeldFiles::num_held() const {
  std::lock_guard lock(mutex_);
  return num_held_;
}

bool HeldFiles::wait_held(int number, double limit_s) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(limit_s),
                           [&] { return num_held_ >= number; });
}

void HeldFiles::pass(const std::string& path) {
  std::unique_lock lock(mutex_);
  const auto hangs = [&] { return !held_.empty() && path.find(held_) != std::string::npos; };
  if (hangs()) {
    ++num_held_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !hangs(); });
    --num_held_;
  }
  if (slow_.empty() || path.find(slow_) == std::string::npos) return;
  const double seconds = seconds_;
  lock.unlock();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

Result<std::unique_ptr<ReadableFile>> HeldFiles::open(const std::string& path) {
  pass(path);
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, base_.open(path));
  return std::unique_ptr<ReadableFile>(new Reader(*this, path, std::move(file)));
}

Result<std::unique_ptr<MappedFile>> HeldFiles::map(const std::string& path) {
  pass(path);
  return base_.map(path);
}

Result<std::unique_ptr<WritableFile>> HeldFiles::create(const std::string& path) {
  pass(path);
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, base_.create(path));
  return std::unique_ptr<WritableFile>(new Writer(*this, path, std::move(file)));
}

Status HeldFiles::create_exclusive(const std::string& path, std::string_view content) {
  pass(path);
  return base_.create_exclusive(path, content);
}

Status HeldFiles::append_line(const std::string& path, std::string_view line) {
  pass(path);
  return base_.append_line(path, line);
}

Status HeldFiles::truncate(const std::string& path, int64_t size_bytes) {
  pass(path);
  return base_.truncate(path, size_bytes);
}

Status HeldFiles::rename(const std::string& from, const std::string& to) {
  pass(to);
  return base_.rename(from, to);
}

Status HeldFiles::sync_directory(const std::string& path) {
  pass(path);
  return base_.sync_directory(path);
}

Status HeldFiles::make_directories(const std::string& path) {
  pass(path);
  return base_.make_directories(path);
}

Status HeldFiles::remove_all(const std::string& path) {
  pass(path);
  return base_.remove_all(path);
}

bool HeldFiles::exists(const std::string& path) {
  pass(path);
  return base_.exists(path);
}

Result<std::vector<std::string>> HeldFiles::list(const std::string& path) {
  pass(path);
  return base_.list(path);
}

Result<std::unique_ptr<FileLock>> HeldFiles::lock(const std::string& path, std::string_view owner) {
  pass(path);
  return base_.lock(path, owner);
}

}  // namespace leasehold
