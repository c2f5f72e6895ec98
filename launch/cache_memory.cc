#include "launch/cache_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace leasehold {

namespace {

double gib(int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(1 << 30); }

}  // namespace

int64_t available_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name, rest;
  int64_t kib = 0;
  while (meminfo >> name >> kib) {
    if (name == "MemAvailable:") return kib * 1024;
    std::getline(meminfo, rest);
  }
  return std::numeric_limits<int64_t>::max();
}

Status check_cache_fits(int64_t positions, int64_t needed_bytes, int64_t available_bytes) {
  if (needed_bytes <= available_bytes) return ok_status();
  return error(Code::kBadConfig,
               "the keys and values of {} positions take {:.1f} GiB, and {:.1f} GiB are available: "
               "ask for fewer --tokens, or give a shorter prompt",
               positions, gib(needed_bytes), gib(available_bytes));
}

}  // namespace leasehold
