// Implements `leasehold inspect`: verifies every digest of a checkpoint and describes the
// checkpoint. Pure except for the files that it reads.
#pragma once

#include <string>

#include "runtime/base/files.h"

namespace leasehold {

struct InspectOptions {
  bool json = false;
  bool all = false;  // for a run.dir: every checkpoint, newest first, not only the newest
};

struct Inspection {
  // Text for stdout: lines for a person, or one JSON object (with `all` a list of them), with a
  // newline at the end. Complete even if something is damaged. Empty if there was nothing to
  // inspect.
  std::string output;
  // Ok; kBadData if an inspected checkpoint is damaged; kMissingInput if there is none; kStorage.
  Status status;
};

// Inspects `path`, a checkpoint's directory or a run.dir.
Inspection inspect(FileSystem& files, const std::string& path, const InspectOptions& options);

}  // namespace leasehold
