// Ends a program with a message if it was built for newer processors than this one, before the
// first newer instruction ends it with SIGILL. Compiled for any processor of the architecture; runs
// before other code of the program.
#include <cstring>
#include <unistd.h>

namespace {

[[gnu::constructor(101)]] void check_processor() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports(LEASEHOLD_INSTRUCTION_SET)) return;
  constexpr const char* kMessage =
      "this program is built for " LEASEHOLD_INSTRUCTION_SET
      ", and this processor (or the hypervisor below it) lacks some of its instructions: use a "
      "newer one, or build with -DLEASEHOLD_MARCH=x86-64 for all nodes of a run\n";
  constexpr int kBadConfig = 78;
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kMessage, std::strlen(kMessage));
  ::_exit(kBadConfig);
}

}  // namespace
