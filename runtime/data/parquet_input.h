// Reads Parquet files with a helper: Python with pyarrow, which writes a column as JSON lines. No
// Parquet code is compiled in.
#pragma once

#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Copies one column of the Parquet file at `path` to a new file at `to`. Each row becomes a line:
// an object with the column as its only member. The column is `field`, or the part before its first
// dot. The Python is LEASEHOLD_PYTHON, or else python3 of the PATH. Calls `keep_waiting` several
// times a second; its error ends the helper. kUnavailable, with the command that installs it, if
// Python or pyarrow is missing; kBadData for a file that pyarrow cannot read, and for a missing
// column, naming the existing ones; kStorage. The caller owns `to`, also after an error.
Status parquet_to_json_lines(FileSystem& files, const std::string& path, const std::string& field,
                             const std::string& to, const std::function<Status()>& keep_waiting);

}  // namespace leasehold
