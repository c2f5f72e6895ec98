#include "launch/find_launcher.h"

#include "launch/supervisor/child_process.h"
#include "runtime/base/clock.h"

namespace leasehold {

namespace {

constexpr double kAnswerDeadlineS = 30;
constexpr double kLookAgainS = 0.005;

// Returns the output of `program --version`.
Result<std::string> version_of(const std::string& program) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto child,
                             ChildProcess::start({program, "--version"}, {}, kAnswerDeadlineS));
  for (;;) {
    const auto outcome = child->poll();
    if (outcome && !outcome->code) {
      return error(Code::kUnavailable, "`{} --version` did not end within {:.0f} s", program,
                   kAnswerDeadlineS);
    }
    if (outcome) return outcome->output;
    system_clock().sleep_s(kLookAgainS);
  }
}

}  // namespace

Result<std::unique_ptr<Launcher>> find_launcher(const std::string& mpirun,
                                                const std::string& train_program) {
  const auto said = version_of(mpirun);
  if (said.status().code() == Code::kMissingInput) {
    const bool is_path = mpirun.find('/') != std::string::npos;
    return error(
        Code::kMissingInput,
        "there is no {}{}: install Open MPI (Debian: openmpi-bin) or MPICH (mpich), or name "
        "the launcher with launch.mpirun",
        mpirun, is_path ? "" : " in PATH");
  }
  if (!said.ok()) return said.status();
  LEASEHOLD_ASSIGN_OR_RETURN(auto launcher, recognize_launcher(mpirun, *said));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string program, version_of(train_program));
  const auto mpi = text_behind(program, "\nMPI: ");
  if (!mpi) {
    return error(Code::kUnavailable,
                 "`{} --version` does not name the MPI that it was built with: build it again",
                 train_program);
  }
  LEASEHOLD_RETURN_IF_ERROR(launcher->check_program(mpi->substr(0, mpi->find('\n'))));
  return launcher;
}

}  // namespace leasehold
