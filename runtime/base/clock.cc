#include "runtime/base/clock.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <thread>

namespace leasehold {

namespace {

class SystemClock : public Clock {
 public:
  double steady_s() override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  double unix_s() override {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  void sleep_s(double seconds) override {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
};

}  // namespace

Clock& system_clock() {
  static SystemClock clock;
  return clock;
}

std::string format_utc(double unix_s) {
  const int64_t millis = std::llround(unix_s * 1000);
  const auto whole = static_cast<std::time_t>(millis >= 0 ? millis / 1000 : (millis - 999) / 1000);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(whole), millis - whole * 1000);
}

Deadline Deadline::after_s(double seconds) {
  constexpr double kCenturyS = 3600.0 * 24 * 365 * 100;
  const auto span = std::chrono::duration<double>(std::clamp(seconds, 0.0, kCenturyS));
  return Deadline(std::chrono::steady_clock::now() +
                  std::chrono::duration_cast<std::chrono::steady_clock::duration>(span));
}

double Deadline::remaining_s() const {
  return std::max(0.0,
                  std::chrono::duration<double>(at_ - std::chrono::steady_clock::now()).count());
}

}  // namespace leasehold
