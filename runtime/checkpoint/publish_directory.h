// A directory that is seen whole or not at all.
#pragma once

#include <functional>
#include <string>

#include "runtime/base/files.h"

namespace leasehold {

// Lets `write` fill a new directory beside `path`, then syncs it and renames it to `path`, durably.
// `write` syncs the files that it makes. kBadConfig when `path` is there already and is not an
// empty directory; else what `write` or the storage says, and then what was written is removed.
// `tag` makes the temporary's name (".tmp-<tag>-<last part of path>") unique among writers.
Status publish_directory(FileSystem& files, const std::string& path, const std::string& tag,
                         const std::function<Status(const std::string& temporary)>& write);

}  // namespace leasehold
