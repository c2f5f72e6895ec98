// Shows the progress of `leasehold prepare`: one line that is rewritten in place on a terminal, and
// a line every few seconds elsewhere.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "runtime/base/clock.h"

namespace leasehold {

// Returns "120.5 of 840.0 MB  14%  21.3 MB/s  34 s left". Pure.
std::string prepare_progress_text(int64_t done_bytes, int64_t total_bytes, double elapsed_s);

class PrepareProgress {
 public:
  // Starts the clock. Writes to `out`, which must outlive this.
  PrepareProgress(Clock& clock, FILE* out);

  void show(int64_t done_bytes, int64_t total_bytes);
  // Moves the cursor to a line of its own.
  void finish();

 private:
  Clock& clock_;
  FILE* out_;
  bool terminal_;
  bool open_line_ = false;
  double began_s_;
  double shown_s_;
};

}  // namespace leasehold
