#include "launch/progress.h"

#include <unistd.h>

#include "launch/duration_text.h"

namespace leasehold {

namespace {

constexpr double kLineEveryS = 2.0;
constexpr double kRedrawEveryS = 0.1;
constexpr double kSmoothing = 0.1;  // share of the newest step in the mean step time

}  // namespace

std::string progress_text(const StepMetrics& metrics, int64_t steps, double seconds_left) {
  const std::optional<double> hidden = metrics.communication.hidden_share();
  return fmt::format("step {}/{}  loss {:.4f}  grad norm {:.2f}  {:.0f} tokens/s  {}{} left",
                     metrics.step, steps, metrics.loss, metrics.grad_norm, metrics.tokens_per_s,
                     hidden ? fmt::format("{:.0f}% of communication hidden  ", 100 * *hidden) : "",
                     duration_text(seconds_left));
}

Progress::Progress(int64_t steps, Clock& clock, FILE* out)
    : steps_(steps), clock_(clock), out_(out), terminal_(::isatty(::fileno(out)) == 1) {}

RunObserver Progress::observer() {
  return {.on_step = [this](const StepMetrics& metrics) { step(metrics); },
          .on_validation =
              [this](int64_t at, double loss) {
                line(fmt::format("step {}/{}  validation loss {:.4f}", at, steps_, loss));
              },
          .on_event = [this](const std::string& text) { line(text); }};
}

void Progress::step(const StepMetrics& metrics) {
  step_time_s_ = step_time_s_ == 0
                     ? metrics.step_time_s
                     : (1 - kSmoothing) * step_time_s_ + kSmoothing * metrics.step_time_s;
  const double now_s = clock_.steady_s();
  const bool last = metrics.step == steps_;
  if (!last && now_s - shown_at_s_ < (terminal_ ? kRedrawEveryS : kLineEveryS)) return;
  shown_at_s_ = now_s;
  const std::string text =
      progress_text(metrics, steps_, static_cast<double>(steps_ - metrics.step) * step_time_s_);
  if (terminal_) {
    write("\r\x1b[K" + text);
    open_line_ = true;
  } else {
    write(text + "\n");
  }
}

void Progress::line(const std::string& text) {
  write((open_line_ ? "\n" : "") + text + "\n");
  open_line_ = false;
}

// Ignores failures, since a run continues when nobody reads its output any more.
void Progress::write(const std::string& text) {
  (void)std::fputs(text.c_str(), out_);
  (void)std::fflush(out_);
}

}  // namespace leasehold
