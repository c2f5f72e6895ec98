// `leasehold inspect`: verifies every digest of a checkpoint and says what it holds. Pure but for
// the files it reads.
#pragma once

#include <string>

#include "runtime/base/files.h"

namespace leasehold {

struct InspectOptions {
  bool json = false;
  bool all = false;  // of a run.dir: every checkpoint, newest first; else the newest alone
};

struct Inspection {
  // For stdout: lines for a person, or one JSON object (with `all`: a list of them), newline at the
  // end. Complete also when something is damaged. Empty when there was nothing to look at.
  std::string output;
  // Ok; kBadData when a checkpoint looked at is damaged; kMissingInput when there is none;
  // kStorage.
  Status status;
};

// `path` is a checkpoint's directory or a run.dir.
Inspection inspect(FileSystem& files, const std::string& path, const InspectOptions& options);

}  // namespace leasehold
