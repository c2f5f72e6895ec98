// The key of a run, run.dir/key: by it snapshots in memory are told from what other users put
// there. Only its owner may read it.
#pragma once

#include <string>

#include "runtime/base/mac.h"

namespace leasehold {

// kMissingInput when the run has none yet; kBadData, with the way out, when others may read it or
// it holds no key.
Result<SecretKey> read_run_key(const std::string& run_dir);
// The same; draws it first where there is none. Of several callers all get the same one. kStorage.
Result<SecretKey> load_run_key(const std::string& run_dir);

}  // namespace leasehold
