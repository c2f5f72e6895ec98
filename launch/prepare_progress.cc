#include "launch/prepare_progress.h"

#include <algorithm>
#include <unistd.h>

#include "launch/duration_text.h"

namespace leasehold {

namespace {

constexpr double kLineEveryS = 5.0;
constexpr double kRedrawEveryS = 0.2;

}  // namespace

std::string prepare_progress_text(int64_t done_bytes, int64_t total_bytes, double elapsed_s) {
  const auto done = static_cast<double>(done_bytes), total = static_cast<double>(total_bytes);
  const double bytes_per_s = done / std::max(elapsed_s, 1e-9);
  return fmt::format("{:.1f} of {:.1f} MB  {:.0f}%  {:.1f} MB/s  {} left", done / 1e6, total / 1e6,
                     100 * done / std::max(total, 1.0), bytes_per_s / 1e6,
                     duration_text((total - done) / std::max(bytes_per_s, 1.0)));
}

PrepareProgress::PrepareProgress(Clock& clock, FILE* out)
    : clock_(clock),
      out_(out),
      terminal_(::isatty(::fileno(out)) == 1),
      began_s_(clock.steady_s()),
      shown_s_(began_s_) {}

void PrepareProgress::show(int64_t done_bytes, int64_t total_bytes) {
  const double now_s = clock_.steady_s();
  if (now_s - shown_s_ < (terminal_ ? kRedrawEveryS : kLineEveryS)) return;
  shown_s_ = now_s;
  const std::string text = prepare_progress_text(done_bytes, total_bytes, now_s - began_s_);
  fmt::print(out_, "{}{}{}", terminal_ ? "\r\x1b[K" : "", text, terminal_ ? "" : "\n");
  open_line_ = terminal_;
  std::fflush(out_);
}

void PrepareProgress::finish() {
  if (open_line_) fmt::print(out_, "\n");
  open_line_ = false;
}

}  // namespace leasehold
