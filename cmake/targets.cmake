# leasehold_precompiled_headers(SET [HEADERS <gtest/gtest.h> ...] [LINKS lib ...])
#   The headers that most files include, and HEADERS, compiled once for all targets that name the SET and are built with
#   the same flags. A file still includes what it uses: tests/lint reads it without these.
function(leasehold_precompiled_headers set)
  if(NOT LEASEHOLD_PRECOMPILE)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "HEADERS;LINKS" ${ARGN})
  set(target leasehold_precompiled_${set})
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cc "")
  add_library(${target} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cc)
  target_link_libraries(${target} PRIVATE leasehold::flags fmt::fmt ${ARG_LINKS})
  target_precompile_headers(${target} PRIVATE
    <algorithm> <array> <atomic> <chrono> <filesystem> <functional> <map> <memory> <optional> <span> <string> <vector>
    <fmt/format.h> "${CMAKE_SOURCE_DIR}/runtime/base/status.h" ${ARG_HEADERS})
endfunction()

# leasehold_precompile(TARGET SET)
function(leasehold_precompile target set)
  if(LEASEHOLD_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM leasehold_precompiled_${set})
  endif()
endfunction()

# leasehold_library(NAME SOURCES a.cc ... DEPENDS other ... LINKS lib ... [PRECOMPILED tests])
#   One static library per folder; DEPENDS names other folders' targets: the layering, enforced by the linker. Those among
#   the tests' own files, which have other flags, name their precompiled headers.
function(leasehold_library name)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;DEPENDS;LINKS" ${ARGN})
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED common)
  endif()
  add_library(leasehold_${name} STATIC ${ARG_SOURCES})
  add_library(leasehold::${name} ALIAS leasehold_${name})
  target_link_libraries(leasehold_${name} PUBLIC leasehold::flags)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(leasehold_${name} PUBLIC leasehold::${dependency})
  endforeach()
  target_link_libraries(leasehold_${name} PUBLIC ${ARG_LINKS})
  leasehold_precompile(leasehold_${name} ${ARG_PRECOMPILED})
endfunction()

# leasehold_kernels(NAME SOURCES a.cu ... DEPENDS other ...)
#   GPU kernels in a static library: compiled by nvcc, or for the emulation as C++, with the emulation's dialect.h before
#   the real one. For builds with LEASEHOLD_GPU other than absent.
function(leasehold_kernels name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(leasehold_${name} STATIC ${ARG_SOURCES})
  add_library(leasehold::${name} ALIAS leasehold_${name})
  set_target_properties(leasehold_${name} PROPERTIES UNITY_BUILD OFF)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(leasehold_${name} PUBLIC leasehold::${dependency})
  endforeach()
  target_link_libraries(leasehold_${name} PUBLIC leasehold::flags leasehold::gpu)
  if(LEASEHOLD_GPU STREQUAL "emulated")
    set_source_files_properties(${ARG_SOURCES} PROPERTIES LANGUAGE CXX)
    target_include_directories(leasehold_${name} BEFORE PRIVATE ${CMAKE_SOURCE_DIR}/tests/emulated_gpu/overlay)
    target_compile_options(leasehold_${name} PRIVATE -x c++ -fno-strict-aliasing -Wno-unknown-pragmas)
    set_target_properties(leasehold_${name} PROPERTIES LEASEHOLD_NO_HOST_TOUCH ON)
  else()
    # --fmad=false as -ffp-contract=off: a vector's kernel and a scalar's would fuse other multiplications.
    target_compile_options(leasehold_${name} PRIVATE --threads=2 --fmad=false -Xcompiler=-Wall)
    if(LEASEHOLD_WARNINGS_AS_ERRORS)
      target_compile_options(leasehold_${name} PRIVATE --Werror=all-warnings)
    endif()
  endif()
endfunction()

# leasehold_no_host_touch(a.cc ...): sources of the calling folder whose loops never see device memory and should be fast
#   in emulated builds too.
function(leasehold_no_host_touch)
  if(LEASEHOLD_HOST_TOUCH)
    set_source_files_properties(${ARGN} PROPERTIES
      COMPILE_OPTIONS -fno-sanitize=kernel-address SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# `unit_tests` builds the test programs that need no other program: what a sanitizer's build wants.
add_custom_target(unit_tests)
# `memory_tests` builds those of them whose subjects handle memory by hand: what tests/run has asan look at.
add_custom_target(memory_tests)
# `gpu_tests` builds those with label gpu.
add_custom_target(gpu_tests)

# leasehold_test(NAME SOURCES a_test.cc ... DEPENDS base ... [TIMEOUT seconds] [LABELS cpu])
#   One GoogleTest program; each of its tests is a ctest test of its own. With label cpu (the default) it belongs to
#   `unit_tests`. One label: gtest_discover_tests would take a second one for a property.
function(leasehold_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LINKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  list(LENGTH ARG_LABELS num_labels)
  if(NOT num_labels EQUAL 1)
    message(FATAL_ERROR "leasehold_test(${name}): give one label, not '${ARG_LABELS}'")
  endif()
  set(target ${name}_test)
  add_executable(${target} ${ARG_SOURCES})
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(${target} PRIVATE leasehold::${dependency})
  endforeach()
  target_link_libraries(${target} PRIVATE ${ARG_LINKS} GTest::gtest GTest::gtest_main)
  leasehold_precompile(${target} tests)
  if(ARG_LABELS STREQUAL "cpu")
    add_dependencies(unit_tests ${target})
    if(CMAKE_CURRENT_SOURCE_DIR MATCHES "/tests/(runtime|collectives|models)(/|$)")
      add_dependencies(memory_tests ${target})
    endif()
  elseif(ARG_LABELS STREQUAL "gpu")
    add_dependencies(gpu_tests ${target})
  endif()
  gtest_discover_tests(${target} TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}
    PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
endfunction()

# leasehold_mpi_test(NAME RANKS 1 2 4 SOURCES ... DEPENDS ... [TIMEOUT seconds] [LABELS mpi ...])
#   One GoogleTest program with its own main() (MPI_Init first); for each rank count one ctest test runs all of it.
function(leasehold_mpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LINKS;RANKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS mpi)
  endif()
  set(target ${name}_mpi_test)
  add_executable(${target} ${ARG_SOURCES})
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(${target} PRIVATE leasehold::${dependency})
  endforeach()
  target_link_libraries(${target} PRIVATE ${ARG_LINKS} GTest::gtest)
  leasehold_precompile(${target} tests)
  if("gpu" IN_LIST ARG_LABELS)
    add_dependencies(gpu_tests ${target})
  endif()
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}.mpi_${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} --oversubscribe --bind-to none $<TARGET_FILE:${target}>)
    set_tests_properties(${name}.mpi_${ranks} PROPERTIES
      TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" PROCESSORS 2
      ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1")
  endforeach()
endfunction()

# leasehold_bench(NAME SOURCES ... DEPENDS ...): a program build/<preset>/bench/NAME.
function(leasehold_bench name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINKS" ${ARGN})
  add_executable(bench_${name} ${ARG_SOURCES})
  set_target_properties(bench_${name} PROPERTIES OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(bench_${name} PRIVATE leasehold::${dependency})
  endforeach()
  target_link_libraries(bench_${name} PRIVATE ${ARG_LINKS})
  leasehold_precompile(bench_${name} common)
endfunction()
