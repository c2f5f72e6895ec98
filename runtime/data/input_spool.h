// Streams that come once (standard input, pipes) as files: copied to a temporary one, whose size
// is known and which can be read twice.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Returns true when the path is "-" (standard input), a pipe or a device.
bool is_stream_path(const std::string& path);
// "standard input", or the path.
std::string stream_name(const std::string& path);

// Copies all that comes to a new file at `to`. `keep_waiting` is asked several times a second, and
// ends the copy by its error. kMissingInput where the stream cannot be read, kStorage where the
// copy cannot be written. Leaves the file to the caller, also on an error.
Status spool_stream(FileSystem& files, const std::string& path, const std::string& to,
                    const std::function<Status()>& keep_waiting);

// The same for what comes by a file descriptor, which the caller keeps; `name` is for messages.
Status copy_descriptor(FileSystem& files, int fd, const std::string& name, const std::string& to,
                       const std::function<Status()>& keep_waiting);

}  // namespace leasehold
