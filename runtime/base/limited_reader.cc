#include "runtime/base/limited_reader.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace leasehold {

// Owned by the reader and by its thread: it lives as long as either.
struct LimitedReader::Shared {
  std::unique_ptr<ReadableFile> file;
  std::string path;
  double limit_s = 0;

  std::mutex callers;  // held by the caller that reads
  std::mutex mutex;    // guards the members below
  std::condition_variable changed;
  enum class State { kIdle, kAsked, kRead, kStopped } state = State::kIdle;
  bool started = false;
  int64_t offset = 0;
  std::vector<uint8_t> bytes;
  Status status;  // of the newest read; stays not ok once a read was late
  bool late = false;

  static void thread_main(const std::shared_ptr<Shared>& self);
};

void LimitedReader::Shared::thread_main(const std::shared_ptr<Shared>& self) {
  std::unique_lock lock(self->mutex);
  while (true) {
    self->changed.wait(
        lock, [&] { return self->state == State::kAsked || self->state == State::kStopped; });
    if (self->state == State::kStopped) return;
    lock.unlock();
    Status status = self->file->read_at(self->offset, self->bytes.data(), std::ssize(self->bytes));
    lock.lock();
    if (self->state != State::kAsked || self->late) return;
    self->status = std::move(status);
    self->state = State::kRead;
    self->changed.notify_all();
  }
}

LimitedReader::LimitedReader(std::unique_ptr<ReadableFile> file, std::string path, double limit_s)
    : shared_(std::make_shared<Shared>()) {
  shared_->file = std::move(file);
  shared_->path = std::move(path);
  shared_->limit_s = limit_s;
}

LimitedReader::~LimitedReader() {
  const std::lock_guard lock(shared_->mutex);
  shared_->state = Shared::State::kStopped;
  shared_->changed.notify_all();
}

int64_t LimitedReader::size_bytes() const { return shared_->file->size_bytes(); }

Status LimitedReader::read_at(int64_t offset, int64_t size_bytes,
                              const std::function<void(std::span<const uint8_t>)>& use) {
  Shared& shared = *shared_;
  const std::lock_guard caller(shared.callers);
  std::unique_lock lock(shared.mutex);
  if (shared.late) return shared.status;
  if (!std::exchange(shared.started, true)) {
    std::thread([self = shared_] { Shared::thread_main(self); }).detach();
  }
  shared.offset = offset;
  shared.bytes.resize(static_cast<size_t>(size_bytes));
  shared.state = Shared::State::kAsked;
  shared.changed.notify_all();
  const bool came = shared.changed.wait_for(lock, std::chrono::duration<double>(shared.limit_s),
                                            [&] { return shared.state == Shared::State::kRead; });
  if (!came) {
    shared.late = true;
    shared.status = error(
        Code::kUnavailable,
        "reading {}: {} bytes at byte {} have not come within {:.0f} s: its disk or mount does "
        "not answer",
        shared.path, size_bytes, offset, shared.limit_s);
    return shared.status;
  }
  shared.state = Shared::State::kIdle;
  if (shared.status.ok()) use(shared.bytes);
  return shared.status;
}

}  // namespace leasehold
