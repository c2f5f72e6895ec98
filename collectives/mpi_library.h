// The MPI that this program was built with.
#pragma once

#include <string>

namespace leasehold {

// Returns the first line of what the library says of itself: "Open MPI v4.1.4, package: ..." or
// "MPICH Version: 4.0.2". MPI need not have begun.
std::string mpi_library();

// Returns true for MPICH, whose launcher does not notice that a rank on another host left without
// MPI_Finalize.
bool mpi_library_is_mpich();

}  // namespace leasehold
