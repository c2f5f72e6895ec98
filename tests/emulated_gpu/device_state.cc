#include "tests/emulated_gpu/device_state.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "tests/emulated_gpu/emulation.h"

namespace leasehold::emulation {
namespace {

constinit thread_local int t_device = 0;
constinit thread_local HostCounts t_counts = {};
constinit thread_local const void* t_waits_for = nullptr;
constinit thread_local cudaError_t t_last_error = cudaSuccess;

FutexMutex g_mutex;
std::atomic<uint64_t> g_seed{0};
std::atomic<bool> g_injections{false};
std::atomic<int> g_loading{-1};  // 0: eager, 1: lazy, -1: no call yet

// A bounded log and list: no allocation, and nothing that the program's own code shares.
char g_reports[1 << 14];
size_t g_reports_bytes = 0;
struct Injection {
  char function[64];
  int calls_left;
  cudaError_t error;
};
Injection g_injected[16];
int g_num_injected = 0;

int64_t number_from(const char* name, const char* text, int64_t least, int64_t most, char** end) {
  const int64_t value = strtoll(text, end, 10);
  if (*end == text || value < least || value > most) {
    fprintf(stderr, "emulated GPU: %s=%s: write a number from %lld to %lld\n", name, text,
            static_cast<long long>(least), static_cast<long long>(most));
    _exit(78);
  }
  return value;
}

int64_t number(const char* name, int64_t missing, int64_t least, int64_t most) {
  const char* text = getenv(name);
  if (text == nullptr || *text == '\0') return missing;
  char* end = nullptr;
  return number_from(name, text, least, most, &end);
}

Settings read_settings() {
  Settings read;
  read.seed = static_cast<uint64_t>(number("LEASEHOLD_EMULATION_SEED", 0, 0, INT64_MAX));
  read.num_devices =
      static_cast<int>(number("LEASEHOLD_EMULATED_GPUS", kMaxDevices, 0, kMaxDevices));
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  if (visible != nullptr && *visible != '\0') {  // one, or a list of consecutive ones
    char* end = nullptr;
    read.first_device =
        static_cast<int>(number_from("CUDA_VISIBLE_DEVICES", visible, 0, kMaxDevices - 1, &end));
    int count = 1;
    for (; *end == ','; ++count) strtol(end + 1, &end, 10);
    if (count < read.num_devices) read.num_devices = count;
  }
  read.memory_bytes = number("LEASEHOLD_EMULATED_GPU_MEMORY", read.memory_bytes, 1 << 20,
                             static_cast<int64_t>(kMaxDeviceBytes));
  read.capability = static_cast<int>(number("LEASEHOLD_EMULATED_GPU_CAPABILITY", 80, 80, 103));
  const char* fault = getenv("LEASEHOLD_EMULATION_FAULT");
  if (fault != nullptr && *fault != '\0') {
    constexpr const char* kName = "LEASEHOLD_EMULATION_FAULT";
    char* end = nullptr;
    read.fault_device = static_cast<int>(number_from(kName, fault, 0, kMaxDevices - 1, &end));
    read.fault_launch =
        static_cast<int>(number_from(kName, *end == ':' ? end + 1 : end, 1, INT32_MAX, &end));
  }
  g_seed = read.seed;
  return read;
}

struct Devices {
  DeviceState states[kMaxDevices];
  Devices() {
    for (int device = 0; device < kMaxDevices; ++device) {
      states[device].limit_bytes = settings().memory_bytes;
    }
    if (settings().fault_device >= 0) {
      states[settings().fault_device].fault_error = cudaErrorIllegalAddress;
      states[settings().fault_device].fault_at = settings().fault_launch;
    }
  }
};

Devices& devices() {
  // Never destroyed: streams' threads outlive main().
  static auto* all = new Devices;
  return *all;
}

}  // namespace

const Settings& settings() {
  static const Settings read = read_settings();
  return read;
}

size_t shared_limit() { return (settings().capability == 80 ? size_t{163} : size_t{227}) << 10; }

DeviceState& device_state(int device) { return devices().states[device]; }

int current_device() { return t_device; }

cudaError_t remember(cudaError_t error) {
  if (error != cudaSuccess) t_last_error = error;
  return error;
}

bool loads_lazily() {
  int loading = g_loading.load();
  if (loading < 0) {
    const char* asked = getenv("CUDA_MODULE_LOADING");
    const int lazy = asked == nullptr || strcmp(asked, "EAGER") != 0 ? 1 : 0;
    g_loading.compare_exchange_strong(loading, lazy);
    loading = g_loading.load();
  }
  return loading == 1;
}

void set_lazy_loading(bool lazy) { g_loading = lazy ? 1 : 0; }

cudaError_t begin_call(const char* function) {
  (void)loads_lazily();
  if (g_injections.load()) {
    FutexGuard guard(g_mutex);
    for (int i = 0; i < g_num_injected; ++i) {
      Injection& injection = g_injected[i];
      if (strcmp(injection.function, function) != 0 || --injection.calls_left > 0) continue;
      const cudaError_t error = injection.error;
      injection = g_injected[--g_num_injected];
      return remember(error);
    }
  }
  return remember(static_cast<cudaError_t>(device_state(t_device).fault.load()));
}

HostCounts& counts_of_thread() { return t_counts; }
HostCounts host_counts() { return t_counts; }

void count_poll(const void* what, bool done) {
  if (!done) ++t_counts.polls;
  if (!done && t_waits_for != what) ++t_counts.waits;
  t_waits_for = done ? nullptr : what;
}

void set_fault(int device, cudaError_t error) {
  int none = cudaSuccess;
  device_state(device).fault.compare_exchange_strong(none, error);
}

void report(const char* format, ...) {
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  fprintf(stderr, "emulated GPU: %s\n", line);
  FutexGuard guard(g_mutex);
  const size_t bytes = strlen(line);
  if (g_reports_bytes + bytes + 2 > sizeof g_reports) return;
  snprintf(g_reports + g_reports_bytes, sizeof g_reports - g_reports_bytes, "%s\n", line);
  g_reports_bytes += bytes + 1;
}

std::string take_reports() {
  FutexGuard guard(g_mutex);
  std::string taken(g_reports, g_reports_bytes);
  g_reports_bytes = 0;
  return taken;
}

void set_seed(uint64_t seed) {
  settings();
  g_seed = seed;
}
uint64_t seed() {
  settings();
  return g_seed.load();
}

void set_memory_limit(int device, int64_t bytes) {
  DeviceState& state = device_state(device);
  FutexGuard guard(state.mutex);
  state.limit_bytes = bytes;
}

void fail_call(const char* function, int nth, cudaError_t error) {
  FutexGuard guard(g_mutex);
  if (g_num_injected == sizeof g_injected / sizeof g_injected[0] ||
      strlen(function) >= sizeof g_injected[0].function) {
    fprintf(stderr, "emulated GPU: fail_call(%s): no room\n", function);
    abort();
  }
  Injection& injection = g_injected[g_num_injected++];
  snprintf(injection.function, sizeof injection.function, "%s", function);
  injection.calls_left = nth;
  injection.error = error;
  g_injections = true;
}

void fault_at_launch(int device, int nth, cudaError_t error) {
  DeviceState& state = device_state(device);
  state.fault_error = error;
  state.fault_at = state.launches.load() + nth;
}

int64_t num_launches(int device) { return device_state(device).launches.load(); }

void reset() {
  for (int device = 0; device < kMaxDevices; ++device) {
    DeviceState& state = device_state(device);
    FutexGuard guard(state.mutex);
    state.fault = cudaSuccess;
    state.fault_at = -1;
    state.limit_bytes = settings().memory_bytes;
  }
  FutexGuard guard(g_mutex);
  g_num_injected = 0;
  g_injections = false;
  t_last_error = cudaSuccess;
}

}  // namespace leasehold::emulation

using leasehold::emulation::begin_call;
using leasehold::emulation::device_state;
using leasehold::emulation::remember;
using leasehold::emulation::settings;

cudaError_t cudaGetLastError() {
  const cudaError_t last = leasehold::emulation::t_last_error;
  leasehold::emulation::t_last_error = cudaSuccess;
  const auto fault =
      static_cast<cudaError_t>(device_state(leasehold::emulation::current_device()).fault.load());
  return fault != cudaSuccess ? fault : last;
}

cudaError_t cudaGetDevice(int* device) {
  *device = leasehold::emulation::t_device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= settings().num_devices) return remember(cudaErrorInvalidDevice);
  leasehold::emulation::t_device = device;
  return begin_call("cudaSetDevice");
}
