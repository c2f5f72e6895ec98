// Makes files of streams that can be read only once (standard input, pipes). A stream is copied to
// a temporary file, whose size is known and which can be read twice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Returns true if the path is "-" (standard input), a pipe or a device.
bool is_stream_path(const std::string& path);
// Returns "standard input", or the path.
std::string stream_name(const std::string& path);

// Copies the whole stream to a new file at `to`. Calls `keep_waiting` several times a second; its
// error ends the copy. kMissingInput if the stream cannot be read, kStorage if the copy cannot be
// written. The caller owns the file, also after an error.
Status spool_stream(FileSystem& files, const std::string& path, const std::string& to,
                    const std::function<Status()>& keep_waiting);

// Copies from a file descriptor, which the caller keeps, in the same way. `name` is for messages.
Status copy_descriptor(FileSystem& files, int fd, const std::string& name, const std::string& to,
                       const std::function<Status()>& keep_waiting);

}  // namespace leasehold
