#include "collectives/mpi_library.h"

#include <cctype>
#include <mpi.h>

namespace leasehold {

std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "an MPI that is not known";
  std::string line;
  for (const char* at = text; *at != '\0' && *at != '\n'; ++at) {
    const bool is_blank = std::isspace(static_cast<unsigned char>(*at)) != 0;
    if (!is_blank) {
      line += *at;
    } else if (!line.ends_with(' ')) {
      line += ' ';
    }
  }
  return line;
}

bool mpi_library_is_mpich() { return mpi_library().find("MPICH") != std::string::npos; }

}  // namespace leasehold
