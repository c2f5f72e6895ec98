# Writes ${CMAKE_BINARY_DIR}/mpirun, with which tests start ranks. `mpirun -np N PROGRAM...` runs
# the launcher that find_package(MPI) found, with the options that it needs on a machine of few
# cores, possibly as root. The script execs the launcher, so a signal sent to it arrives.
# LEASEHOLD_BIND=core binds ranks to cores. For several nodes run `mpirun -np 3 leasehold node
# a:2,b:1 -- PROGRAM...`.
# Cross builds ask the launcher of the other machine (cmake/debian_arm64.cmake).
execute_process(COMMAND ${LEASEHOLD_RUN_THERE} ${CMAKE_SYSROOT}${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE version ERROR_VARIABLE version)
set(LEASEHOLD_LAUNCHER_PACKAGE openmpi-bin)  # Debian's
if(version MATCHES "\\((Open MPI|OpenRTE)\\) 4\\.")
  set(LEASEHOLD_LAUNCHER_FLAGS "--oversubscribe --bind-to \${LEASEHOLD_BIND:-none}")
elseif(version MATCHES "\\(Open MPI\\) 5\\.")
  set(LEASEHOLD_LAUNCHER_FLAGS "--map-by :OVERSUBSCRIBE --bind-to \${LEASEHOLD_BIND:-none}")
elseif(version MATCHES "HYDRA build details")
  set(LEASEHOLD_LAUNCHER_PACKAGE mpich)
  set(LEASEHOLD_LAUNCHER_FLAGS "-bind-to \${LEASEHOLD_BIND:-none} -launcher fork")
else()
  message(FATAL_ERROR "${MPIEXEC_EXECUTABLE} --version says \"${version}\": Leasehold knows mpirun of Open MPI 4 and 5 and of "
    "MPICH 4 and 5; name one of them with -DMPIEXEC_EXECUTABLE, and its compiler with -DMPI_CXX_COMPILER")
endif()
set(LEASEHOLD_MPIRUN ${CMAKE_BINARY_DIR}/mpirun)
file(CONFIGURE OUTPUT ${LEASEHOLD_MPIRUN} @ONLY CONTENT [=[#!/bin/bash
# Written by cmake/launcher.cmake.
source @CMAKE_SOURCE_DIR@/launch/mpi_environment
exec @MPIEXEC_EXECUTABLE@ @LEASEHOLD_LAUNCHER_FLAGS@ "$@"
]=])
file(CHMOD ${LEASEHOLD_MPIRUN} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
