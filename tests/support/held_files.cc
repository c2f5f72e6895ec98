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

class HeldFiles::Directory : public OpenDirectory {
 public:
  Directory(HeldFiles& held, std::string path, std::unique_ptr<OpenDirectory> directory)
      : held_(held), path_(std::move(path)), directory_(std::move(directory)) {}
  Result<std::vector<std::string>> list() override {
    held_.pass(path_);
    return directory_->list();
  }
  Result<std::string> read(const std::string& name, int64_t limit_bytes) override {
    held_.pass(join_path(path_, name));
    return directory_->read(name, limit_bytes);
  }
  Status remove(const std::string& name) override {
    held_.pass(join_path(path_, name));
    return directory_->remove(name);
  }
  Status sync() override {
    held_.pass(path_);
    return directory_->sync();
  }
  Status remove_name_if_empty() override {
    held_.pass(path_);
    return directory_->remove_name_if_empty();
  }

 private:
  HeldFiles& held_;
  std::string path_;
  std::unique_ptr<OpenDirectory> directory_;
};

class HeldFiles::Log : public LogFile {
 public:
  Log(HeldFiles& held, std::string path, std::unique_ptr<LogFile> log)
      : held_(held), path_(std::move(path)), log_(std::move(log)) {}
  Status append_at(int64_t size_bytes, std::string_view bytes) override {
    held_.pass(path_);
    return log_->append_at(size_bytes, bytes);
  }
  Status cut(int64_t size_bytes, int64_t to_bytes) override {
    held_.pass(path_);
    return log_->cut(size_bytes, to_bytes);
  }
  Status sync() override {
    held_.pass(path_);
    return log_->sync();
  }

 private:
  HeldFiles& held_;
  std::string path_;
  std::unique_ptr<LogFile> log_;
};

void HeldFiles::set_hook(std::function<void()> hook) {
  std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

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
  if (hook_) {
    const std::function<void()> hook = hook_;
    lock.unlock();
    hook();
    lock.lock();
  }
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

Result<std::unique_ptr<LogFile>> HeldFiles::open_log(const std::string& path) {
  pass(path);
  LEASEHOLD_ASSIGN_OR_RETURN(auto log, base_.open_log(path));
  return std::unique_ptr<LogFile>(new Log(*this, path, std::move(log)));
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

Result<std::unique_ptr<OpenDirectory>> HeldFiles::open_directory(const std::string& path) {
  pass(path);
  LEASEHOLD_ASSIGN_OR_RETURN(auto directory, base_.open_directory(path));
  return std::unique_ptr<OpenDirectory>(new Directory(*this, path, std::move(directory)));
}

Result<std::unique_ptr<FileLock>> HeldFiles::lock(const std::string& path, std::string_view owner) {
  pass(path);
  return base_.lock(path, owner);
}

}  // namespace leasehold
