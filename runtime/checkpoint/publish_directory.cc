#include "runtime/checkpoint/publish_directory.h"

#include "runtime/checkpoint/checkpoint_directory.h"

namespace leasehold {

namespace {

// Ok when there is nothing, or nothing in it.
Status check_free(FileSystem& files, const std::string& path) {
  if (!files.exists(path)) return ok_status();
  const Result<std::vector<std::string>> names = files.list(path);
  if (names.ok() && names->empty()) return ok_status();
  return error(Code::kBadConfig, "{} exists already: remove it, or choose another name", path);
}

}  // namespace

Status publish_directory(FileSystem& files, const std::string& path, const std::string& tag,
                         const std::function<Status(const std::string& temporary)>& write) {
  std::string target = path;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  LEASEHOLD_RETURN_IF_ERROR(check_free(files, target));
  const std::string parent = parent_path(target);
  const std::string temporary =
      join_path(parent, fmt::format(".tmp-{}-{}", tag, target.substr(target.rfind('/') + 1)));
  const auto fill = [&]() -> Status {
    LEASEHOLD_RETURN_IF_ERROR(make_durable_directories(files, parent));
    LEASEHOLD_RETURN_IF_ERROR(files.remove_all(temporary));
    LEASEHOLD_RETURN_IF_ERROR(files.make_directories(temporary));
    LEASEHOLD_RETURN_IF_ERROR(write(temporary));
    LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(temporary));
    LEASEHOLD_RETURN_IF_ERROR(check_free(files, target));
    LEASEHOLD_RETURN_IF_ERROR(files.rename(temporary, target));
    return files.sync_directory(parent);
  };
  Status filled = fill();
  if (filled.ok()) return filled;
  const Status removed = files.remove_all(temporary);
  if (removed.ok()) return filled;
  return error(filled.code(), "{} (and {} could not be removed: {})", filled.message(), temporary,
               removed.message());
}

}  // namespace leasehold
