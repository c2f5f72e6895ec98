#include "runtime/tensor/blas/blas.h"

#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <fmt/ranges.h>
#include <memory>
#include <mutex>
#include <optional>

#include "runtime/tensor/blas/processor.h"

namespace leasehold::blas {

namespace {

constexpr const char* kFile = "libopenblas.so.0";
constexpr const char* kCoreType = "OPENBLAS_CORETYPE";
constexpr const char* kNumThreads = "OPENBLAS_NUM_THREADS";

// Sets an environment variable while it lives; "" leaves the variable alone, but for an empty one,
// which the library would take for a name. The library reads its variables when it is opened, and
// programs that this process starts later should not see them.
class VariableForNow {
 public:
  VariableForNow(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    if (!value.empty()) {
      ::setenv(name, value.c_str(), 1);
    } else if (before_ && before_->empty()) {
      ::unsetenv(name);
    }
  }
  ~VariableForNow() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  VariableForNow(const VariableForNow&) = delete;
  VariableForNow& operator=(const VariableForNow&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// The library of this process, which has one as the library's own state is the process's.
struct Opened {
  std::mutex mutex;
  void* handle = nullptr;
  std::unique_ptr<Library> library;
  std::atomic<const Library*> shown{nullptr};
};
Opened& opened() {
  static Opened of_process;
  return of_process;
}

template <typename Function>
Status find(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(handle, name));
  if (function != nullptr) return ok_status();
  return error(Code::kBadConfig, "{} is no OpenBLAS: it has no {}; install libopenblas0-pthread",
               kFile, name);
}

void close_locked(Opened& state) {
  state.shown = nullptr;
  state.library.reset();
  if (state.handle != nullptr) ::dlclose(state.handle);
  state.handle = nullptr;
}

Result<std::string> open_locked(Opened& state, const std::string& kernel_set) {
  if (state.library && (kernel_set.empty() || state.library->kernel_set == kernel_set))
    return state.library->kernel_set;
  close_locked(state);
  {
    const VariableForNow core_type(kCoreType, kernel_set);
    const VariableForNow num_threads(kNumThreads, "1");  // starts none of its own
    state.handle = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  }
  if (state.handle == nullptr) {
    return error(Code::kBadConfig,
                 "the library of matrix products cannot be opened: {}; install "
                 "libopenblas0-pthread",
                 ::dlerror());
  }
  auto library = std::make_unique<Library>();
  decltype(&::openblas_get_config) get_config = nullptr;
  decltype(&::openblas_get_corename) get_corename = nullptr;
  LEASEHOLD_RETURN_IF_ERROR(find(state.handle, "cblas_sgemm", library->sgemm));
  LEASEHOLD_RETURN_IF_ERROR(
      find(state.handle, "openblas_set_num_threads", library->set_num_threads));
  LEASEHOLD_RETURN_IF_ERROR(find(state.handle, "openblas_get_config", get_config));
  LEASEHOLD_RETURN_IF_ERROR(find(state.handle, "openblas_get_corename", get_corename));
  library->set_num_threads(1);
  library->config = get_config();
  library->kernel_set = get_corename();
  state.library = std::move(library);
  state.shown = state.library.get();
  return state.library->kernel_set;
}

Result<std::string> open_first_locked(Opened& state, const std::vector<std::string>& sets) {
  if (sets.empty()) return open_locked(state, "");
  for (const std::string& set : sets) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string used, open_locked(state, set));
    if (used == set) return used;
  }
  const std::string config = state.library->config;
  close_locked(state);
  return error(Code::kBadConfig, "this machine's library ({}) has none of the kernel sets {}",
               config, fmt::join(sets, ", "));
}

}  // namespace

void reserve_environment() {
  constexpr int kKeep = 0;
  for (const char* name : {kCoreType, kNumThreads}) ::setenv(name, "", kKeep);
}

Result<OfferedKernelSets> offered_kernel_sets() {
  const Processor processor = this_processor();
  OfferedKernelSets offered{.processor = processor.name};
  if (!processor.has_known_sets) return offered;
  const char* asked = std::getenv(kCoreType);
  if (asked == nullptr || *asked == '\0') {
    offered.sets = runnable_kernel_sets(processor.features);
    return offered;
  }
  const KernelSet* set = find_kernel_set(asked);
  if (set == nullptr) {
    return error(Code::kBadConfig,
                 "{} = \"{}\" names no kernel set that is known here ({}): unset it, or write "
                 "device.cpu_kernels into the job",
                 kCoreType, asked, kernel_set_names());
  }
  const auto missing = missing_features(*set, processor.features);
  if (!missing.empty()) {
    return error(Code::kBadConfig, "{} = \"{}\": this processor ({}) lacks {}: unset it", kCoreType,
                 asked, processor.name, fmt::join(missing, ", "));
  }
  offered.sets = {std::string(set->name)};
  offered.pinned = true;
  return offered;
}

Result<std::string> open_library(const std::string& kernel_set) {
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  return open_locked(state, kernel_set);
}

Result<std::string> open_library_with_first(const std::vector<std::string>& sets) {
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  return open_first_locked(state, sets);
}

void close_library() {
  Opened& state = opened();
  const std::lock_guard lock(state.mutex);
  close_locked(state);
}

const Library& library() {
  Opened& state = opened();
  if (const Library* shown = state.shown.load(std::memory_order_acquire)) return *shown;
  const std::lock_guard lock(state.mutex);
  if (!state.library) {
    const auto offered = offered_kernel_sets();
    throw_if_error(offered.status());
    throw_if_error(open_first_locked(state, offered->sets).status());
  }
  return *state.library;
}

}  // namespace leasehold::blas
