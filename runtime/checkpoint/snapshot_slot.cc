#include "runtime/checkpoint/snapshot_slot.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/base/digest.h"
#include "runtime/base/files.h"

namespace leasehold {

namespace {

constexpr std::string_view kShardSuffix = ".safetensors";
constexpr std::string_view kDescriptionSuffix = ".json";
constexpr std::string_view kTemporarySuffix = ".json.tmp";
constexpr mode_t kOwnerOnly = 0600;

Status system_error(Code code, const std::string& what, const std::string& path, int number) {
  return error(code, "{} {}: {}", what, path, std::strerror(number));
}

// Takes `expected` off the front.
bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}

bool take_number(std::string_view& text, int64_t& number) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || number < 0) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

Status not_enough(const std::string& directory, int64_t size_bytes) {
  return error(Code::kBadConfig,
               "{} has no room for a snapshot of {} bytes: enlarge it (mount -o remount,size=... "
               "{}), remove what other runs left (leasehold clean RUN_DIR), or write "
               "checkpoint.snapshot = \"off\"",
               directory, size_bytes, directory);
}

}  // namespace

std::string run_prefix(const std::string& run_dir) {
  std::error_code failure;
  const std::filesystem::path path = std::filesystem::weakly_canonical(run_dir, failure);
  const std::string text = failure ? run_dir : path.string();
  return fmt::format("leasehold-{:016x}-", digest64(text.data(), text.size()));
}

std::string slot_name(const std::string& prefix, const SlotName& name) {
  return fmt::format("{}g{}-r{}-{}-{}@{}", prefix, name.generation, name.rank,
                     name.is_copy ? "copy" : "own", name.index, name.node);
}

std::optional<SlotName> parse_slot_name(const std::string& prefix, std::string_view text) {
  SlotName name;
  const bool good = take(text, prefix) && take(text, "g") && take_number(text, name.generation) &&
                    take(text, "-r") && take_number(text, name.rank);
  if (!good) return std::nullopt;
  name.is_copy = take(text, "-copy-");
  if (!name.is_copy && !take(text, "-own-")) return std::nullopt;
  if (!take_number(text, name.index) || !take(text, "@") || text.empty()) return std::nullopt;
  name.node = text;
  return name;
}

Result<std::unique_ptr<SnapshotSlot>> SnapshotSlot::reserve(const std::string& directory,
                                                            const std::string& name,
                                                            int64_t size_bytes) {
  const std::string path = join_path(directory, name);
  for (const std::string_view suffix : {kDescriptionSuffix, kTemporarySuffix, kShardSuffix}) {
    ::unlink((path + std::string(suffix)).c_str());
  }
  const std::string file = path + std::string(kShardSuffix);
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerOnly);
  if (fd < 0) return system_error(Code::kStorage, "creating", file, errno);
  int failure = 0;
  do {
    failure = ::posix_fallocate(fd, 0, size_bytes);
  } while (failure == EINTR);
  void* data = MAP_FAILED;
  if (failure == 0) {
    data =
        ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) failure = errno;
  }
  ::close(fd);
  if (failure != 0) {
    ::unlink(file.c_str());
    if (failure == ENOSPC || failure == ENOMEM) return not_enough(directory, size_bytes);
    return system_error(Code::kStorage, "reserving", file, failure);
  }
  return std::unique_ptr<SnapshotSlot>(
      new SnapshotSlot(directory, name, static_cast<char*>(data), size_bytes));
}

SnapshotSlot::~SnapshotSlot() { ::munmap(data_, static_cast<size_t>(size_bytes_)); }

Status SnapshotSlot::invalidate() {
  const std::string path = join_path(directory_, name_ + std::string(kDescriptionSuffix));
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return ok_status();
  return system_error(Code::kStorage, "removing", path, errno);
}

Status SnapshotSlot::publish(const std::string& description) {
  const std::string path = join_path(directory_, name_ + std::string(kDescriptionSuffix));
  const std::string temporary = join_path(directory_, name_ + std::string(kTemporarySuffix));
  FileSystem& files = posix_files();
  const auto write = [&]() -> Status {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(temporary));
    LEASEHOLD_RETURN_IF_ERROR(file->append(description.data(), std::ssize(description)));
    return file->close();
  };
  Status written = write();
  if (written.ok() && ::chmod(temporary.c_str(), kOwnerOnly) != 0) {
    written = system_error(Code::kStorage, "protecting", temporary, errno);
  }
  if (written.ok()) written = files.rename(temporary, path);
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

Result<std::vector<std::string>> list_slots(const std::string& directory,
                                            const std::string& prefix) {
  std::vector<std::string> slots;
  const Result<std::vector<std::string>> names = posix_files().list(directory);
  if (names.status().code() == Code::kMissingInput) return slots;
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (!name.ends_with(kDescriptionSuffix)) continue;
    const std::string slot = name.substr(0, name.size() - kDescriptionSuffix.size());
    if (parse_slot_name(prefix, slot)) slots.push_back(slot);
  }
  return slots;
}

Result<int64_t> remove_slots(const std::string& directory, const std::string& prefix,
                             const std::function<bool(const SlotName&)>& surplus) {
  int64_t freed = 0;
  const Result<std::vector<std::string>> names = posix_files().list(directory);
  if (names.status().code() == Code::kMissingInput) return freed;
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    for (const std::string_view suffix : {kTemporarySuffix, kDescriptionSuffix, kShardSuffix}) {
      if (!name.ends_with(suffix)) continue;
      const auto slot = parse_slot_name(prefix, name.substr(0, name.size() - suffix.size()));
      if (!slot || !surplus(*slot)) break;
      const std::string path = join_path(directory, name);
      struct stat status {};
      if (::stat(path.c_str(), &status) == 0) freed += status.st_size;
      if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return system_error(Code::kStorage, "removing", path, errno);
      break;
    }
  }
  return freed;
}

}  // namespace leasehold
