// The supervisor's part in the logs of run.dir, which rank 0 writes too (RunDirectory): it appends
// events and reads how far the steps came.
#pragma once

#include <optional>
#include <string>

#include "launch/supervisor/bookkeeping.h"
#include "runtime/base/clock.h"
#include "runtime/base/files.h"

namespace leasehold {

// Appends a line to RUN_DIR/events.jsonl, of the form that RunDirectory::append_event writes.
Status append_supervisor_event(FileSystem& files, const std::string& run_dir, Clock& clock,
                               int64_t generation, const SupervisorEvent& event);

// Ends a line that a writer which died left without its end, so that what follows is readable. To
// be called while holding RUN_DIR/lock.
Status repair_events(FileSystem& files, const std::string& run_dir);

// The last whole line of RUN_DIR/metrics.jsonl; nothing when there is none that can be read. Reads
// a few KiB, however long the file is.
std::optional<LoggedStep> read_last_step(FileSystem& files, const std::string& run_dir);

}  // namespace leasehold
