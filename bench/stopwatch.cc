#include "bench/stopwatch.h"

#include <vector>

#include "runtime/base/clock.h"

namespace leasehold {

namespace {

class HostStopwatch : public Stopwatch {
 public:
  size_t mark(Stream&) override {
    times_s_.push_back(system_clock().steady_s());
    return times_s_.size() - 1;
  }
  double seconds_between(size_t from, size_t to) const override {
    return times_s_[to] - times_s_[from];
  }
  void reset() override { times_s_.clear(); }

 private:
  std::vector<double> times_s_;
};

}  // namespace

std::unique_ptr<Stopwatch> create_stopwatch(Device& device) {
  if (device.kind() == DeviceKind::kCuda) return create_cuda_stopwatch();
  return std::make_unique<HostStopwatch>();
}

}  // namespace leasehold
