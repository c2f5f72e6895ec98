#include "runtime/checkpoint/background_saver.h"

#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"

namespace leasehold {

Result<std::unique_ptr<BackgroundSaver>> BackgroundSaver::create(FileWork& work,
                                                                 const std::string& run_dir,
                                                                 Communicator& world,
                                                                 FileWork::Part tidy) {
  std::unique_ptr<BackgroundSaver> saver(new BackgroundSaver(work, run_dir, std::move(tidy)));
  saver->host_ = CpuDevice::create({});
  LEASEHOLD_ASSIGN_OR_RETURN(saver->stream_, saver->host_->create_stream("saves"));
  LEASEHOLD_RETURN_IF_ERROR(saver->renew(world));
  saver->thread_ = std::thread([saver = saver.get()] { saver->thread_main(); });
  return saver;
}

BackgroundSaver::~BackgroundSaver() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    if (under_way_) {
      const Status reason = error(Code::kUnavailable, "the rank leaves in the middle of a save");
      work_.stop(reason);
      group_->abort(reason);
    }
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  stream_.reset();
}

Status BackgroundSaver::renew(Communicator& world) {
  LEASEHOLD_CHECK(!under_way(), "a save of step {} is under way", info_.step);
  LEASEHOLD_ASSIGN_OR_RETURN(auto group, world.split(0, world.rank(), "saves"));
  group_ = std::move(group);
  return ok_status();
}

void BackgroundSaver::begin(const CheckpointInfo& info, std::vector<StateSlice> slices) {
  std::lock_guard lock(mutex_);
  LEASEHOLD_CHECK(!under_way_, "the save of step {} has not ended", info_.step);
  info_ = info;
  slices_ = std::move(slices);
  under_way_ = true;
  changed_.notify_all();
}

bool BackgroundSaver::under_way() const {
  std::lock_guard lock(mutex_);
  return under_way_;
}

BackgroundSaver::Outcome BackgroundSaver::newest() const {
  std::lock_guard lock(mutex_);
  return newest_;
}

int64_t BackgroundSaver::saved_step() const {
  std::lock_guard lock(mutex_);
  return saved_step_;
}

bool BackgroundSaver::is_connected() const { return group_->health().ok(); }

void BackgroundSaver::thread_main() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || under_way_; });
    if (stop_) return;
    lock.unlock();
    Outcome outcome = {.step = info_.step, .status = {}, .seconds = 0, .tidied = {}};
    const double begin_s = system_clock().steady_s();
    outcome.status = save_checkpoint(work_, run_dir_, info_, slices_, *group_, *stream_);
    outcome.seconds = system_clock().steady_s() - begin_s;
    if (outcome.status.ok()) {
      outcome.tidied = work_.on_rank_0(*group_, *stream_, "removing old checkpoints", tidy_);
    }
    lock.lock();
    if (outcome.status.ok()) saved_step_ = outcome.step;
    newest_ = std::move(outcome);
    under_way_ = false;
    changed_.notify_all();
  }
}

}  // namespace leasehold
