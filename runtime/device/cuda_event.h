// The CUDA device's Event. Waiting on the host polls with a deadline; a record that is enqueued
// meanwhile prolongs the wait.
#pragma once

#include <cuda_runtime.h>
#include <memory>
#include <mutex>

#include "runtime/device/cuda_context.h"
#include "runtime/device/device.h"

namespace leasehold {

class CudaStreamState;

class CudaEvent : public Event {
 public:
  static CudaEvent& from(Event& event);
  static const CudaEvent& from(const Event& event);

  // `timed`: Device::create_timed_event.
  static Result<std::unique_ptr<Event>> create(const std::shared_ptr<CudaContext>& context,
                                               bool timed = false);
  ~CudaEvent() override;
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  bool ready() const override;
  Status wait(Deadline deadline) const override;
  // To half a microsecond, says the vendor.
  Result<double> seconds_since(const Event& earlier) const override;

  // For streams. Of the newest record: the stream that made it (null: never recorded).
  cudaEvent_t handle() const { return handle_; }
  void set_source(std::shared_ptr<CudaStreamState> source);
  std::shared_ptr<CudaStreamState> source() const;

 private:
  CudaEvent(std::shared_ptr<CudaContext> context, bool timed)
      : context_(std::move(context)), timed_(timed) {}

  std::shared_ptr<CudaContext> context_;
  bool timed_;
  cudaEvent_t handle_ = nullptr;
  mutable std::mutex mutex_;
  std::shared_ptr<CudaStreamState> source_;
};

}  // namespace leasehold
