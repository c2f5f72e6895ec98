#include "runtime/checkpoint/background_saver.h"

#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"

namespace leasehold {

Result<std::unique_ptr<BackgroundSaver>> BackgroundSaver::create(FileSystem& files,
                                                                 const std::string& run_dir,
                                                                 Communicator& world,
                                                                 double timeout_s) {
  std::unique_ptr<BackgroundSaver> saver(new BackgroundSaver(files, run_dir, timeout_s));
  saver->host_ = CpuDevice::create({});
  LEASEHOLD_ASSIGN_OR_RETURN(saver->group_, world.split(0, world.rank(), "saves"));
  LEASEHOLD_ASSIGN_OR_RETURN(saver->stream_, saver->host_->create_stream("saves"));
  saver->thread_ = std::thread([saver = saver.get()] { saver->thread_main(); });
  return saver;
}

BackgroundSaver::~BackgroundSaver() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (under_way_ && group_) {
      group_->abort(error(Code::kUnavailable, "the rank leaves in the middle of a save"));
    }
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  stream_.reset();
}

void BackgroundSaver::begin(const CheckpointInfo& info, std::vector<StateSlice> slices) {
  std::lock_guard lock(mutex_);
  LEASEHOLD_CHECK(!under_way_, "the save of step {} has not ended", info_.step);
  info_ = info;
  slices_ = std::move(slices);
  under_way_ = true;
  changed_.notify_all();
}

Status BackgroundSaver::wait_ended(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (changed_.wait_until(lock, deadline.time_point(), [this] { return !under_way_; }))
    return ok_status();
  return error(Code::kUnavailable, "the save of step {} does not get on", info_.step);
}

BackgroundSaver::Outcome BackgroundSaver::newest() const {
  std::lock_guard lock(mutex_);
  return newest_;
}

void BackgroundSaver::thread_main() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || under_way_; });
    if (stop_) return;
    lock.unlock();
    const double begin_s = system_clock().steady_s();
    const Status saved = save_checkpoint(files_, run_dir_, info_, slices_, *group_, *stream_,
                                         after_group_timeout(timeout_s_));
    const double seconds = system_clock().steady_s() - begin_s;
    lock.lock();
    newest_ = {.step = info_.step, .status = saved, .seconds = seconds};
    under_way_ = false;
    changed_.notify_all();
  }
}

}  // namespace leasehold
