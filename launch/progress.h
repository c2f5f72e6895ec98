// Shows the progress of a run: one line that is rewritten in place on a terminal, and a line every
// two seconds elsewhere.
#pragma once

#include <cstdio>
#include <string>

#include "runtime/train/trainer.h"

namespace leasehold {

// Returns "step 120/1000  loss 2.3142  grad norm 0.81  15234 tokens/s  91% of communication hidden
// 1 min 12 s left". The hidden share is the share of rank 0's communication that ran during
// computation; it is left out if nothing was measured. Pure.
std::string progress_text(const StepMetrics& metrics, int64_t steps, double seconds_left);

class Progress {
 public:
  // Writes to `out` (stderr), which must outlive the observer.
  Progress(int64_t steps, Clock& clock, FILE* out);

  RunObserver observer();

 private:
  void step(const StepMetrics& metrics);
  void line(const std::string& text);
  void write(const std::string& text);

  int64_t steps_;
  Clock& clock_;
  FILE* out_;
  bool terminal_;
  bool open_line_ = false;  // the cursor is at the end of a line that will be rewritten
  double shown_at_s_ = -1e9;
  double step_time_s_ = 0;  // smoothed
};

}  // namespace leasehold
