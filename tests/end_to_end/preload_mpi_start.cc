// Stands between a program and MPI: notes what the environment says when MPI starts, which is when
// an MPI that knows CUDA starts the driver. Appends a line to the file that LEASEHOLD_MPI_START
// names.
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>

namespace {

const char* value_of(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

extern "C" int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  if (std::FILE* file = std::fopen(value_of("LEASEHOLD_MPI_START"), "a")) {
    std::fprintf(file, "loading=%s connections=%s\n", value_of("CUDA_MODULE_LOADING"),
                 value_of("CUDA_DEVICE_MAX_CONNECTIONS"));
    std::fclose(file);
  }
  using Init = int (*)(int*, char***, int, int*);
  const auto next = reinterpret_cast<Init>(::dlsym(RTLD_NEXT, "MPI_Init_thread"));
  return next(argc, argv, required, provided);
}
