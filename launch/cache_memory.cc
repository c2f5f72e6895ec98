#include "launch/cache_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace leasehold {

namespace {

double gib(int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1 << 30); }

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// Returns the number in a file; kUnlimited for "max" or without such a file.
int64_t read_number(const std::string& path) {
  int64_t number = 0;
  return std::ifstream(path) >> number ? number : kUnlimited;
}

// Returns the room in a group and in its ancestors, each of which may have a limit.
int64_t room_of_groups(const std::string& mount, std::string group, const char* limit_file,
                       const char* used_file) {
  int64_t room = kUnlimited;
  while (true) {
    const std::string directory = mount + group + "/";
    const int64_t limit = read_number(directory + limit_file);
    const int64_t used = read_number(directory + used_file);
    if (limit != kUnlimited && used != kUnlimited) {
      room = std::min(room, std::max<int64_t>(limit - used, 0));
    }
    if (group.empty()) return room;
    group.erase(group.find_last_of('/'));
  }
}

// Returns the room in this process's groups. A line of /proc/self/cgroup is "0::/GROUP" (version 2)
// or "N:memory:/GROUP" (version 1). Inside a container the line may name a group of the host, which
// does not exist there; the container's limit is then at the mount.
int64_t room_in_groups(const std::string& root) {
  std::ifstream groups(root + "/proc/self/cgroup");
  int64_t room = kUnlimited;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (!group.starts_with('/') || group == "/") group.clear();
    if (controllers.empty()) {
      room = std::min(
          room, room_of_groups(root + "/sys/fs/cgroup", group, "memory.max", "memory.current"));
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      room = std::min(room, room_of_groups(root + "/sys/fs/cgroup/memory", group,
                                           "memory.limit_in_bytes", "memory.usage_in_bytes"));
    }
  }
  return room;
}

int64_t available_to_all(const std::string& root) {
  std::ifstream meminfo(root + "/proc/meminfo");
  std::string name, rest;
  int64_t kib = 0;
  while (meminfo >> name >> kib) {
    if (name == "MemAvailable:") return kib * 1024;
    std::getline(meminfo, rest);
  }
  return kUnlimited;
}

}  // namespace

int64_t available_memory_bytes(const std::string& root) {
  return std::min(available_to_all(root), room_in_groups(root));
}

Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes) {
  if (needed_bytes <= available_bytes) return ok_status();
  return error(Code::kBadConfig,
               "the keys and values of {} positions take {:.1f} GiB, but only {:.1f} GiB are "
               "available: use fewer --tokens, or a shorter prompt",
               positions, gib(needed_bytes), gib(available_bytes));
}

}  // namespace leasehold
