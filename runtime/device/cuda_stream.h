// The CUDA device's streams, seen by what enqueues on them: CUDA kernels and NCCL.
#pragma once

#include <array>
#include <cstdint>
#include <cuda_runtime.h>
#include <memory>
#include <string>

#include "runtime/device/cuda_context.h"
#include "runtime/device/cuda_fault.h"
#include "runtime/device/device.h"

namespace leasehold {

// What is known of a stream's failure. Events keep it, so that it outlives the stream.
class CudaStreamState;

class CudaStream : public Stream {
 public:
  // Every Stream made by a CudaDevice is one. Checks.
  static CudaStream& from(Stream& stream);

  static Result<std::unique_ptr<Stream>> create(const std::shared_ptr<CudaContext>& context,
                                                const std::string& name);
  // Waits for its work, at most the context's limit; then the device's memory stays allocated, for
  // freeing it would wait without end.
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  // Calls task(cudaStream_t) at once, with the stream's device current, unless the stream has
  // failed; task enqueues and does not wait. A StatusError that it throws fails the stream. When
  // the device is far behind, waits first, at most the context's limit, after which the stream
  // fails: a full queue would block without end.
  template <typename Task>
  void enqueue(Task&& task) {
    if (!prepare_to_enqueue()) return;
    try {
      task(handle_);
    } catch (const StatusError& caught) {
      fail(caught.status());
    } catch (const std::exception& caught) {
      fail(error(Code::kInternal, "{}", caught.what()));
    }
  }

  // For tasks: where a kernel reports bad data. Zero until one does, and only for kernels to write.
  FaultWord* fault() const;
  cudaStream_t handle() const { return handle_; }
  const std::shared_ptr<CudaContext>& context() const { return context_; }
  const std::shared_ptr<CudaStreamState>& state() const { return state_; }
  // What follows is skipped, and synchronize() returns the first failure. Thread-safe.
  void fail(const Status& status);
  // The first failure that the host knows of, without waiting. Thread-safe.
  Status failure() const;

  const std::string& name() const override { return name_; }
  void record(Event& event) override;
  void wait(const Event& event) override;
  // Host memory that is not pinned is copied after a wait for the stream's work, at most the
  // context's limit: the runtime would wait without one.
  void copy(void* to, const void* from, int64_t size_bytes) override;
  void fill_zero(void* to, int64_t size_bytes) override;
  Status synchronize(Deadline deadline) override;

 private:
  static constexpr uint64_t kTasksPerMark = 64;
  static constexpr uint64_t kMarks = 4;

  CudaStream(std::shared_ptr<CudaContext> context, std::string name);
  Status create_handles();
  // False when the stream has failed.
  bool prepare_to_enqueue();
  Status wait_for_room();
  // Waits for what was enqueued so far; says nothing of failures known otherwise.
  Status wait_for_work(Deadline deadline);

  std::shared_ptr<CudaContext> context_;
  std::string name_;
  std::string work_name_;  // for messages
  std::shared_ptr<CudaStreamState> state_;
  cudaStream_t handle_ = nullptr;
  cudaEvent_t end_ = nullptr;                   // for synchronize
  std::array<cudaEvent_t, kMarks> marks_ = {};  // recorded in turn, every kTasksPerMark tasks
  uint64_t num_tasks_ = 0;
};

}  // namespace leasehold
