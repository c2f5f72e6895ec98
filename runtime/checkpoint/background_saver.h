// Writes durable checkpoints while training goes on: save_checkpoint() on a thread and a
// communicator of its own, from memory that stays as it is (a pinned snapshot).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/comm/file_work.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

class BackgroundSaver {
 public:
  struct Outcome {
    int64_t step = -1;
    Status status;
    double seconds = 0;
    Status tidied;  // what `tidy` said; ok where the save failed
  };

  // Collective. `work` must outlive the saver and is used by nobody else while a save is under way.
  // `tidy` runs on rank 0 after each save that succeeded.
  static Result<std::unique_ptr<BackgroundSaver>> create(FileWork& work, const std::string& run_dir,
                                                         Communicator& world, FileWork::Part tidy);
  // Ends a save that is under way: soon, also where it hangs. `work` is stopped for good then.
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // All ranks begin the same saves; the last one must have ended. The slices' memory may not change
  // until it has and is_free().
  void begin(const CheckpointInfo& info, std::vector<StateSlice> slices);
  bool under_way() const;
  // The newest save that ended, as this rank saw it. Step -1: none yet. Where a peer was lost at
  // the very end ranks may differ: a checkpoint counts as saved when saved_step() says so on all.
  Outcome newest() const;
  int64_t saved_step() const;  // the newest step of which this rank knows that it is saved; -1

  // False while something of an earlier save hangs on this rank: nothing can be saved meanwhile,
  // and what it reads must stay as it is.
  bool is_free() const { return work_.idle(); }
  // False once the group is aborted: every save fails until renew().
  bool is_connected() const;
  // Collective over the world, while no save is under way on any rank: makes the group anew.
  Status renew(Communicator& world);

 private:
  BackgroundSaver(FileWork& work, std::string run_dir, FileWork::Part tidy)
      : work_(work), run_dir_(std::move(run_dir)), tidy_(std::move(tidy)) {}
  void thread_main();

  FileWork& work_;
  std::string run_dir_;
  FileWork::Part tidy_;
  std::unique_ptr<CpuDevice> host_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Stream> stream_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool under_way_ = false;
  bool stop_ = false;
  CheckpointInfo info_;
  std::vector<StateSlice> slices_;
  Outcome newest_;
  int64_t saved_step_ = -1;
  std::thread thread_;
};

}  // namespace leasehold
