// Ends a program with a message if it was built for newer processors than this one, before the
// first newer instruction ends it with SIGILL. Compiled for any processor of the architecture; runs
// before other code of the program. A rank names itself (launchers/last_words.h), since it ends
// before MPI begins and not every launcher says which rank ended first.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <unistd.h>

namespace {

const char* own_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return rank;
  }
  return nullptr;
}

[[gnu::constructor(101)]] void check_processor() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports(LEASEHOLD_INSTRUCTION_SET)) return;
  constexpr int kBadConfig = 78;
  char text[1024] = "";
  const auto add = [&](const char* part) {
    std::strncat(text, part, sizeof text - std::strlen(text) - 1);
  };
  add(program_invocation_short_name);
  add(": this program is built for " LEASEHOLD_INSTRUCTION_SET
      ", and this processor (or the hypervisor below it) lacks some of its instructions: use a "
      "newer one, or build with -DLEASEHOLD_MARCH=x86-64 for all nodes of a run\n");
  if (const char* rank = own_rank()) {
    add("leasehold-train ends with exit code 78, the fault of ranks ");
    add(rank);
    add("\n");
  }
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
  ::_exit(kBadConfig);
}

}  // namespace
