#include "runtime/device/cpu_device.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>

#include "runtime/base/resource_exhausted.h"
#include "runtime/device/cpu_event.h"
#include "runtime/device/cpu_stream.h"

namespace leasehold {

namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;

class CpuMemory : public Memory {
 public:
  CpuMemory(void* data, int64_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  CpuMemory(const CpuMemory&) = delete;
  CpuMemory& operator=(const CpuMemory&) = delete;
  ~CpuMemory() override { ::munmap(data_, static_cast<size_t>(size_bytes_)); }
  void* data() const override { return data_; }
  int64_t size_bytes() const override { return size_bytes_; }

 private:
  void* data_;
  int64_t size_bytes_;
};

class CpuDeviceImplementation : public CpuDevice {
 public:
  explicit CpuDeviceImplementation(const CpuDeviceOptions& options)
      : options_(options),
        name_(fmt::format("cpu ({} thread{}{})", options.num_threads,
                          options.num_threads == 1 ? "" : "s",
                          options.asynchronous ? ", asynchronous" : "")),
        thread_pool_(options.num_threads) {}

  DeviceKind kind() const override { return DeviceKind::kCpu; }
  const std::string& name() const override { return name_; }
  ThreadPool& thread_pool() override { return thread_pool_; }
  const CpuDeviceOptions& options() const override { return options_; }

  Result<std::unique_ptr<Stream>> create_stream(const std::string& name) override {
    if (!options_.asynchronous) return create_inline_stream(name, options_.wait_limit_s);
    // Every stream dawdles in its own way.
    const uint64_t seed =
        options_.delay_seed == 0 ? 0 : options_.delay_seed * 1000 + num_streams_.fetch_add(1) + 1;
    return create_asynchronous_stream(name, seed, options_.wait_limit_s);
  }

  Result<std::unique_ptr<Event>> create_event() override { return create_cpu_event(); }
  Result<std::unique_ptr<Event>> create_timed_event() override {
    return std::unique_ptr<Event>(std::make_unique<CpuEvent>(true));
  }

  // Anonymous pages are zero already and are taken on first touch; huge ones save most of a step's
  // page walks.
  Result<std::unique_ptr<Memory>> allocate(int64_t size_bytes, MemoryKind,
                                           const std::string& purpose) override {
    if (size_bytes <= 0)
      return error(Code::kInternal, "{}: {} bytes asked for", purpose, size_bytes);
    void* data = ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
      return error(kResourceExhausted,
                   "no memory for {} ({} bytes): {}; use more ranks or a smaller batch.microbatch",
                   purpose, size_bytes, std::strerror(errno));
    }
    if (size_bytes >= kHugePageBytes)
      ::madvise(data, static_cast<size_t>(size_bytes), MADV_HUGEPAGE);
    return std::unique_ptr<Memory>(new CpuMemory(data, size_bytes));
  }

 private:
  CpuDeviceOptions options_;
  std::string name_;
  ThreadPool thread_pool_;
  std::atomic<uint64_t> num_streams_{0};
};

}  // namespace

std::unique_ptr<CpuDevice> CpuDevice::create(const CpuDeviceOptions& options) {
  return std::make_unique<CpuDeviceImplementation>(options);
}

}  // namespace leasehold
