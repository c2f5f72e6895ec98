// Implements the functions that work on any FileSystem; posix_files.cc has the real file system.
#include "runtime/base/files.h"

namespace leasehold {

Result<std::string> read_whole(ReadableFile& file, const std::string& path, int64_t limit_bytes) {
  if (file.size_bytes() > limit_bytes) {
    return error(Code::kBadData, "{}: {} bytes, more than the {} expected of such a file", path,
                 file.size_bytes(), limit_bytes);
  }
  std::string content(static_cast<size_t>(file.size_bytes()), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, content.data(), file.size_bytes()));
  return content;
}

Result<std::string> read_file(FileSystem& files, const std::string& path, int64_t limit_bytes) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, files.open(path));
  return read_whole(*file, path, limit_bytes);
}

Status publish_file(FileSystem& files, const std::string& path, std::string_view content,
                    const std::string& tag) {
  const std::string temporary = path + "." + tag + ".tmp";
  const auto write = [&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(auto file, files.create(temporary));
    LEASEHOLD_RETURN_IF_ERROR(file->append(content.data(), static_cast<int64_t>(content.size())));
    LEASEHOLD_RETURN_IF_ERROR(file->sync());
    LEASEHOLD_RETURN_IF_ERROR(file->close());
    LEASEHOLD_RETURN_IF_ERROR(files.rename(temporary, path));
    return files.sync_directory(parent_path(path));
  };
  Status status = write();
  if (!status.ok()) {
    const Status removed = files.remove_all(temporary);
    if (!removed.ok()) return status.annotated(removed.message());
  }
  return status;
}

std::string join_path(const std::string& directory, const std::string& name) {
  if (name.starts_with('/') || directory.empty() || directory == ".") return name;
  return directory.ends_with('/') ? directory + name : directory + "/" + name;
}

std::string parent_path(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace leasehold
