#include "launch/run_memory.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

#include "runtime/base/digest.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/run_directory.h"
#include "runtime/checkpoint/snapshot_slot.h"

namespace leasehold {

std::string canonical_run_dir(const std::string& run_dir) {
  std::error_code failure;
  auto path = std::filesystem::weakly_canonical(std::filesystem::absolute(run_dir), failure);
  if (failure) path = std::filesystem::absolute(run_dir).lexically_normal();
  std::string text = path.string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

std::vector<std::string> memory_prefixes(const std::string& run_dir) {
  const std::string path = canonical_run_dir(run_dir);
  std::vector<std::string> prefixes = {
      fmt::format("leasehold-{:016x}-", digest64(path.data(), path.size()))};
  const auto lineage = read_lineage(posix_files(), path);
  if (lineage.ok() && !lineage->empty()) prefixes.push_back(lineage_prefix(*lineage));
  return prefixes;
}

Result<int64_t> remove_run_memory(const std::string& run_dir, const std::string& directory) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto names, posix_files().list(directory));
  int64_t removed = 0;
  for (const std::string& prefix : memory_prefixes(run_dir)) {
    for (const std::string& name : names) {
      if (!name.starts_with(prefix)) continue;
      const std::string path = join_path(directory, name);
      if (::unlink(path.c_str()) == 0) {
        ++removed;
      } else if (errno != EPERM && errno != EACCES && errno != ENOENT && errno != EISDIR) {
        return error(Code::kStorage, "removing {}: {}", path, std::strerror(errno));
      }
    }
  }
  return removed;
}

}  // namespace leasehold
