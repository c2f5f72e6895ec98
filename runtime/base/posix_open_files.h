// Files and directories that are open, as runtime/base/files.h describes them.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/files.h"
#include "runtime/base/posix_descriptor.h"

namespace leasehold {

std::unique_ptr<ReadableFile> posix_readable(const std::string& path, Descriptor fd,
                                             int64_t size_bytes);
std::unique_ptr<WritableFile> posix_writable(const std::string& path, Descriptor fd);
std::unique_ptr<OpenDirectory> posix_directory(const std::string& path, Descriptor fd);
std::unique_ptr<LogFile> posix_log(const std::string& path, Descriptor fd);
// A file mapped by mmap, which it unmaps.
std::unique_ptr<MappedFile> posix_mapped(void* data, int64_t size_bytes);

}  // namespace leasehold
