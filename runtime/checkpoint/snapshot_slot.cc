#include "runtime/checkpoint/snapshot_slot.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <random>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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

Status not_enough(const SlotDirectory& directory, int64_t size_bytes) {
  const Result<int64_t> left = directory.free_bytes(directory.path);
  return error(Code::kStorage, "{} has {} bytes left, and a snapshot takes {}", directory.path,
               left.ok() ? std::to_string(*left) : "no", size_bytes);
}

Status foreign(const std::string& file, const std::string& directory) {
  struct stat status {};
  const std::string owner =
      ::lstat(file.c_str(), &status) == 0 ? fmt::format("user {}", status.st_uid) : "another user";
  return error(Code::kStorage,
               "{} is there already and belongs to {}: have it removed from {}, or write "
               "checkpoint.snapshot = \"off\"",
               file, owner, directory);
}

// Visits the files of a run's slots: NAME.safetensors, NAME.json and NAME.json.tmp.
Status for_each_file(const std::string& directory, const std::string& prefix,
                     const SlotChoice& chosen,
                     const std::function<Status(const std::string& path)>& visit) {
  const Result<std::vector<std::string>> names = posix_files().list(directory);
  if (names.status().code() == Code::kMissingInput) return ok_status();
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    for (const std::string_view suffix : {kTemporarySuffix, kDescriptionSuffix, kShardSuffix}) {
      if (!name.ends_with(suffix)) continue;
      const std::string slot = name.substr(0, name.size() - suffix.size());
      const auto parsed = parse_slot_name(prefix, slot);
      if (!parsed || !chosen(slot, *parsed)) break;
      LEASEHOLD_RETURN_IF_ERROR(visit(join_path(directory, name)));
      break;
    }
  }
  return ok_status();
}

}  // namespace

Result<int64_t> free_bytes_of(const std::string& directory) {
  struct statvfs found {};
  if (::statvfs(directory.c_str(), &found) != 0)
    return system_error(Code::kStorage, "looking at", directory, errno);
  return static_cast<int64_t>(found.f_bavail) * static_cast<int64_t>(found.f_frsize);
}

Result<int64_t> identity_of_memory(const std::string& directory) {
  struct stat found {};
  if (::stat(directory.c_str(), &found) != 0)
    return system_error(Code::kStorage, "looking at", directory, errno);
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot);
  const std::string text = fmt::format("{} {}", boot, found.st_dev);
  return static_cast<int64_t>(digest64(text.data(), text.size()) >> 1);
}

std::string lineage_prefix(const std::string& lineage) {
  return fmt::format("leasehold-{:016x}-", digest64(lineage.data(), lineage.size()));
}

int64_t draw_slot_index() {
  std::random_device source;
  return static_cast<int64_t>(source() & 0x7fffffffU);
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

Result<std::unique_ptr<SnapshotSlot>> SnapshotSlot::reserve(const SlotDirectory& directory,
                                                            const std::string& name,
                                                            int64_t size_bytes) {
  const std::string path = join_path(directory.path, name);
  for (const std::string_view suffix : {kDescriptionSuffix, kTemporarySuffix, kShardSuffix}) {
    ::unlink((path + std::string(suffix)).c_str());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t left, directory.free_bytes(directory.path));
  if (size_bytes > left) return not_enough(directory, size_bytes);
  const std::string file = path + std::string(kShardSuffix);
  const int fd =
      ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kOwnerOnly);
  if (fd < 0 && errno == EEXIST) return foreign(file, directory.path);
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
      new SnapshotSlot(directory.path, name, static_cast<char*>(data), size_bytes));
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
  FileSystem& files = private_files();
  const auto write = [&]() -> Status {
    ::unlink(temporary.c_str());
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files.create(temporary));
    LEASEHOLD_RETURN_IF_ERROR(file->append(description.data(), std::ssize(description)));
    return file->close();
  };
  Status written = write();
  if (written.ok()) written = files.rename(temporary, path);
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

void SnapshotSlot::remove() {
  for (const std::string_view suffix : {kTemporarySuffix, kDescriptionSuffix, kShardSuffix})
    ::unlink(join_path(directory_, name_ + std::string(suffix)).c_str());
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

Result<std::string> read_slot(const std::string& directory, const std::string& name) {
  return read_file(private_files(), join_path(directory, name + std::string(kDescriptionSuffix)));
}

Result<int64_t> remove_slots(const std::string& directory, const std::string& prefix,
                             const SlotChoice& surplus) {
  int64_t freed = 0;
  const auto remove = [&](const std::string& path) -> Status {
    struct stat status {};
    const int64_t size_bytes = ::lstat(path.c_str(), &status) == 0 ? status.st_size : 0;
    if (::unlink(path.c_str()) == 0) {
      freed += size_bytes;
    } else if (errno != ENOENT && errno != EPERM && errno != EACCES && errno != EISDIR) {
      return system_error(Code::kStorage, "removing", path, errno);
    }
    return ok_status();
  };
  LEASEHOLD_RETURN_IF_ERROR(for_each_file(directory, prefix, surplus, remove));
  return freed;
}

Result<int64_t> size_of_slots(const std::string& directory, const std::string& prefix,
                              const SlotChoice& chosen) {
  int64_t total = 0;
  LEASEHOLD_RETURN_IF_ERROR(
      for_each_file(directory, prefix, chosen, [&](const std::string& path) -> Status {
        struct stat status {};
        if (::lstat(path.c_str(), &status) == 0) total += status.st_size;
        return ok_status();
      }));
  return total;
}

}  // namespace leasehold
