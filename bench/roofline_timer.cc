#include "bench/roofline_timer.h"

#include <algorithm>

#include "bench/median.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

// What one set takes, without taking it.
int64_t footprint(const RooflineTimer::Make& make) {
  Arena measured = Arena::measuring("roofline");
  make(measured, nullptr);
  return std::max<int64_t>(1, measured.peak_bytes());
}

}  // namespace

Timing RooflineTimer::time(const Make& make) {
  const int64_t bytes = footprint(make);
  Timing timing;
  timing.sets = std::clamp<int64_t>((options_.rotate_bytes + bytes - 1) / bytes, 1, kMostSets);
  // A set begins where an allocation may.
  const int64_t spaced = (bytes / Arena::kAlignmentBytes + 1) * Arena::kAlignmentBytes;
  Arena arena = Arena::create(device_, "roofline", timing.sets * spaced).value();
  std::vector<std::function<void()>> sets;
  for (int64_t i = 0; i < timing.sets; ++i) sets.push_back(make(arena, &noise_));
  wait();

  double host_s = 0;
  run(sets, std::max<int64_t>(2, timing.sets), &host_s);  // warms up
  double seconds = 0;
  timing.calls = 1;
  const double wanted_s = options_.seconds / kBatches;
  for (int64_t calls = 1; seconds < wanted_s && calls <= kMostCalls; calls *= 2) {
    timing.calls = calls;
    seconds = run(sets, calls, &host_s);
  }
  std::vector<double> batches, hosts;
  for (double done_s = 0; batches.size() < kBatches || done_s < options_.seconds;) {
    const double batch_s = run(sets, timing.calls, &host_s);
    done_s += batch_s;
    batches.push_back(batch_s / static_cast<double>(timing.calls));
    const int64_t few = std::min(timing.calls, kHostCalls);
    run(sets, few, &host_s);
    hosts.push_back(host_s / static_cast<double>(few));
  }
  timing.seconds = median(batches);
  timing.host_seconds = median(hosts);
  return timing;
}

double RooflineTimer::run(const std::vector<std::function<void()>>& sets, int64_t calls,
                          double* host_s) {
  Clock& clock = system_clock();
  stopwatch_->reset();
  const size_t begin = stopwatch_->mark(stream_);
  const double begin_s = clock.steady_s();
  for (int64_t i = 0; i < calls; ++i) sets[next_set_++ % sets.size()]();
  *host_s = clock.steady_s() - begin_s;
  const size_t end = stopwatch_->mark(stream_);
  wait();
  return stopwatch_->seconds_between(begin, end);
}

void RooflineTimer::wait() { throw_if_error(stream_.synchronize(Deadline::after_s(600))); }

}  // namespace leasehold
