#include "launch/run_memory.h"

#include <filesystem>

#include "runtime/base/files.h"
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

Result<int64_t> remove_run_memory(const std::string& run_dir) {
  const std::string prefix = run_prefix(canonical_run_dir(run_dir));
  FileSystem& files = posix_files();
  LEASEHOLD_ASSIGN_OR_RETURN(const auto names, files.list(kSharedMemory));
  int64_t removed = 0;
  for (const std::string& name : names) {
    if (!name.starts_with(prefix)) continue;
    LEASEHOLD_RETURN_IF_ERROR(files.remove_all(join_path(kSharedMemory, name)));
    ++removed;
  }
  return removed;
}

}  // namespace leasehold
