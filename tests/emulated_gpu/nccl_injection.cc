// Inside the emulated NCCL: what goes wrong on purpose.
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <vector>

#include "tests/emulated_gpu/nccl_communicator.h"
#include "tests/emulated_gpu/nccl_emulation.h"

namespace leasehold::emulation {

namespace {

struct Injection {
  NcclFault fault = NcclFault::kNone;
  std::string name;
  int rank = 0;
  int64_t call = 0;
};

struct Injections {
  std::mutex mutex;
  std::vector<Injection> all;
};

NcclFault fault_named(const std::string& name) {
  if (name == "skip") return NcclFault::kSkip;
  if (name == "hang") return NcclFault::kHang;
  if (name == "error") return NcclFault::kError;
  return name == "kill" ? NcclFault::kKill : NcclFault::kNone;
}

std::vector<Injection> parse(const std::string& text) {
  std::vector<Injection> parsed;
  std::istringstream stream(text);
  std::string entry;
  while (std::getline(stream, entry, ';')) {
    const size_t at = entry.find('@');
    const size_t last = entry.rfind(':');
    const size_t middle = last == std::string::npos ? last : entry.rfind(':', last - 1);
    Injection injection;
    char* end = nullptr;
    bool good = at != std::string::npos && middle != std::string::npos && at < middle;
    if (good) {
      injection.fault = fault_named(entry.substr(0, at));
      injection.name = entry.substr(at + 1, middle - at - 1);
      injection.rank = static_cast<int>(std::strtol(entry.c_str() + middle + 1, &end, 10));
      good = injection.fault != NcclFault::kNone && *end == ':';
      injection.call = std::strtoll(entry.c_str() + last + 1, &end, 10);
      good = good && *end == '\0';
    }
    if (!good) {
      std::fprintf(stderr, "emulated NCCL: '%s' is not ACTION@NAME:RANK:N\n", entry.c_str());
      std::abort();
    }
    parsed.push_back(std::move(injection));
  }
  return parsed;
}

Injections& injections() {
  static Injections* const instance = [] {
    auto* made = new Injections();
    if (const char* text = std::getenv("LEASEHOLD_EMULATION_NCCL")) made->all = parse(text);
    return made;
  }();
  return *instance;
}

}  // namespace

void inject_nccl(const std::string& faults) {
  std::lock_guard lock(injections().mutex);
  injections().all = parse(faults);
}

NcclFault take_nccl_fault(const ncclComm& comm, int64_t call) {
  std::lock_guard lock(injections().mutex);
  for (const Injection& injection : injections().all) {
    if (injection.rank == comm.rank && injection.call == call && injection.name == comm.name)
      return injection.fault;
  }
  return NcclFault::kNone;
}

}  // namespace leasehold::emulation
