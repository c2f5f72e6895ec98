// Writes durable checkpoints beside training: save_checkpoint() on a thread and a communicator of
// its own, from memory that stays as it is (a pinned snapshot).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/checkpoint/durable.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

class BackgroundSaver {
 public:
  struct Outcome {
    int64_t step = -1;
    Status status;
    double seconds = 0;
  };

  // Collective. `files` must outlive the saver.
  static Result<std::unique_ptr<BackgroundSaver>> create(FileSystem& files,
                                                         const std::string& run_dir,
                                                         Communicator& world, double timeout_s);
  ~BackgroundSaver();
  BackgroundSaver(const BackgroundSaver&) = delete;
  BackgroundSaver& operator=(const BackgroundSaver&) = delete;

  // All ranks begin the same saves; the last one must have ended. The slices' memory may not change
  // until it has.
  void begin(const CheckpointInfo& info, std::vector<StateSlice> slices);
  // Waits until the newest save ended, however it ended. kUnavailable past the deadline.
  Status wait_ended(Deadline deadline);
  // The newest save that ended, the same on every rank once all have come to it. Step -1: none yet.
  Outcome newest() const;

 private:
  BackgroundSaver(FileSystem& files, std::string run_dir, double timeout_s)
      : files_(files), run_dir_(std::move(run_dir)), timeout_s_(timeout_s) {}
  void thread_main();

  FileSystem& files_;
  std::string run_dir_;
  double timeout_s_;
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
  std::thread thread_;
};

}  // namespace leasehold
