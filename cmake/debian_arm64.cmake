# Toolchain file: compiles on x86-64 for AArch64, against a root of Debian arm64 that has the
# packages of launch/install_packages.
#   LEASEHOLD_ROOT=ROOT cmake --preset release -DCMAKE_TOOLCHAIN_FILE=cmake/debian_arm64.cmake
# Needs g++-aarch64-linux-gnu and qemu-user-static (launch/install_packages distributions), both of
# the root's release or an older one. Links in the root must be relative, since they are followed
# from outside of it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(LEASEHOLD_ROOT "$ENV{LEASEHOLD_ROOT}" CACHE PATH "Root of Debian arm64 to compile against")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LEASEHOLD_ROOT)
if(NOT EXISTS "${LEASEHOLD_ROOT}/usr/lib/aarch64-linux-gnu")
  message(FATAL_ERROR "LEASEHOLD_ROOT is '${LEASEHOLD_ROOT}', which is no root of Debian arm64")
endif()

set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_SYSROOT "${LEASEHOLD_ROOT}")
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
foreach(kind LIBRARY INCLUDE PACKAGE)
  set(CMAKE_FIND_ROOT_PATH_MODE_${kind} ONLY)
endforeach()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${LEASEHOLD_ROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
  "${LEASEHOLD_ROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${LEASEHOLD_ROOT}/usr/share/pkgconfig")

# Debian's cross compiler keeps the C++ library's headers apart, and does not find them below
# CMAKE_SYSROOT.
execute_process(COMMAND ${CMAKE_CXX_COMPILER} -dumpversion OUTPUT_VARIABLE gcc_version OUTPUT_STRIP_TRAILING_WHITESPACE)
set(headers /usr/aarch64-linux-gnu/include/c++/${gcc_version})
set(CMAKE_CXX_FLAGS_INIT "-isystem ${headers} -isystem ${headers}/aarch64-linux-gnu -isystem ${headers}/backward")

# MPI's compiler wrapper runs on the other machine only, so its answers are given here.
# MPIEXEC_EXECUTABLE is a path of the other machine.
set(MPI_CXX_LIB_NAMES mpi)
set(MPI_mpi_LIBRARY "${LEASEHOLD_ROOT}/usr/lib/aarch64-linux-gnu/libmpi.so")
set(MPI_CXX_COMPILER_INCLUDE_DIRS "${LEASEHOLD_ROOT}/usr/lib/aarch64-linux-gnu/openmpi/include")
set(MPIEXEC_EXECUTABLE /usr/bin/mpirun)
set(LEASEHOLD_RUN_THERE qemu-aarch64-static -L "${LEASEHOLD_ROOT}")
