// The MPI library that this program was built with.
#pragma once

#include <string>

namespace leasehold {

// Returns the first line of the library's description of itself: "Open MPI v4.1.4, package: ..." or
// "MPICH Version: 4.0.2". MPI need not be initialised.
std::string mpi_library();

// Returns true for MPICH. Its launcher does not notice that a rank on another host left without
// MPI_Finalize.
bool mpi_library_is_mpich();

}  // namespace leasehold
