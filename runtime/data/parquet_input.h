// Parquet files by a helper: Python with pyarrow, which writes a column as JSON lines. Nothing of
// Parquet is compiled in.
#pragma once

#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Copies one column of the Parquet file at `path` to a new file at `to`: a line a row, an object
// with the column as its only member. The column is `field`, or what stands before its first dot.
// The Python is LEASEHOLD_PYTHON, else python3 of the PATH. `keep_waiting` is asked several times a
// second, and ends the helper by its error. kUnavailable, with the command that installs it, where
// Python or pyarrow is missing; kBadData for a file that pyarrow does not read and a column that is
// missing, with those that there are; kStorage. Leaves `to` to the caller, also on an error.
Status parquet_to_json_lines(FileSystem& files, const std::string& path, const std::string& field,
                             const std::string& to, const std::function<Status()>& keep_waiting);

}  // namespace leasehold
