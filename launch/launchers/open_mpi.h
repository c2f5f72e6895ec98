// The parts that both Open MPI launchers share.
#pragma once

#include <string_view>

#include "launch/launchers/arguments.h"

namespace leasehold {

// Reads the lines that ORTE and PRRTE write nearly alike: which process ended first, and which
// daemon was lost. One object reads one output.
class OpenMpiLines {
 public:
  // Takes a line and the line after it, and adds their content to the reader's report.
  void read(std::string_view line, std::string_view next, FailureReader& reader);
  // Returns true if the launcher lost its connection to a host.
  bool lost_daemon() const { return lost_daemon_; }

 private:
  bool first_process_follows_ = false;
  bool lost_daemon_ = false;
};

// Fails unless the program was built with the same major version of Open MPI.
Status check_open_mpi_program(const Launcher& launcher, std::string_view major,
                              std::string_view mpi_library);

}  // namespace leasehold
