# leasehold_precompiled_headers(SET [HEADERS <gtest/gtest.h> ...] [LINKS lib ...])
#   Compiles the headers that most files include, and HEADERS, once for all targets that name the
#   SET and are built with the same flags. A file still includes what it uses: tests/lint checks it
#   without these headers.
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

# leasehold_precompile(TARGET SET): compiles TARGET with the SET's precompiled headers.
function(leasehold_precompile target set)
  if(LEASEHOLD_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM leasehold_precompiled_${set})
  endif()
endfunction()

# leasehold_place_in(BUILD TARGET VARIABLE): sets VARIABLE to the path of the static library of this
# folder's TARGET in another build.
function(leasehold_place_in build target variable)
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_BINARY_DIR BASE_DIRECTORY ${CMAKE_BINARY_DIR} OUTPUT_VARIABLE folder)
  set(${variable} ${build}/${folder}/lib${target}.a PARENT_SCOPE)
endfunction()

# leasehold_built_here(VARIABLE NAME ...): sets VARIABLE to those of these libraries, and of all
# that they depend on, that this build compiles.
function(leasehold_built_here variable)
  set(found)
  set(waiting ${ARGN})
  while(waiting)
    list(POP_FRONT waiting name)
    get_property(depends GLOBAL PROPERTY leasehold_depends_of_${name})
    list(APPEND waiting ${depends})
    get_target_property(is_imported leasehold_${name} IMPORTED)
    if(NOT is_imported)
      list(APPEND found ${name})
    endif()
  endwhile()
  list(REMOVE_DUPLICATES found)
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

# leasehold_library(NAME SOURCES a.cc ... DEPENDS other ... LINKS lib ... [PRECOMPILED tests]
#     [HOST_ONLY])
#   Defines a static library. DEPENDS names the targets of other folders, so that the linker
#   enforces the layering. Libraries of the tests, which have other flags, name their precompiled
#   headers. HOST_ONLY: the library never sees device memory, so it is the same with every kind of
#   GPU, and LEASEHOLD_LIBRARIES_FROM may provide it.
function(leasehold_library name)
  cmake_parse_arguments(ARG "HOST_ONLY" "PRECOMPILED" "SOURCES;DEPENDS;LINKS" ${ARGN})
  set_property(GLOBAL PROPERTY leasehold_depends_of_${name} ${ARG_DEPENDS})
  list(TRANSFORM ARG_DEPENDS PREPEND leasehold::)
  set(from)
  if(ARG_HOST_ONLY)
    set(from ${LEASEHOLD_LIBRARIES_FROM})
  elseif(CMAKE_CURRENT_SOURCE_DIR MATCHES "^${CMAKE_SOURCE_DIR}/tests/")
    set(from ${LEASEHOLD_TESTS_FROM})
  endif()
  if(from)
    add_library(leasehold_${name} STATIC IMPORTED GLOBAL)
    add_library(leasehold::${name} ALIAS leasehold_${name})
    leasehold_place_in(${from} leasehold_${name} archive)
    set_target_properties(leasehold_${name} PROPERTIES IMPORTED_LOCATION ${archive})
    target_link_libraries(leasehold_${name} INTERFACE leasehold::flags ${ARG_DEPENDS} ${ARG_LINKS})
    return()
  endif()
  if(NOT ARG_PRECOMPILED)
    set(ARG_PRECOMPILED common)
  endif()
  add_library(leasehold_${name} STATIC ${ARG_SOURCES})
  add_library(leasehold::${name} ALIAS leasehold_${name})
  target_link_libraries(leasehold_${name} PUBLIC leasehold::flags ${ARG_DEPENDS} ${ARG_LINKS})
  leasehold_precompile(leasehold_${name} ${ARG_PRECOMPILED})
endfunction()

# leasehold_provided_program(NAME): copies a program of LEASEHOLD_LIBRARIES_FROM to where this build
# would put it.
function(leasehold_provided_program name)
  set(program ${CMAKE_BINARY_DIR}/${name})
  add_custom_target(${name}_copied ALL
    COMMAND ${CMAKE_COMMAND} -E copy_if_different ${LEASEHOLD_LIBRARIES_FROM}/${name} ${program})
  add_executable(${name} IMPORTED GLOBAL)
  set_target_properties(${name} PROPERTIES IMPORTED_LOCATION ${program})
  add_dependencies(${name} ${name}_copied)
endfunction()

# leasehold_kernels(NAME SOURCES a.cu ... DEPENDS other ...)
#   Defines a static library of GPU kernels. nvcc compiles them, or for the emulation the C++
#   compiler, with the emulation's dialect.h before the real one. Only for builds with a
#   LEASEHOLD_GPU other than absent.
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
    # --fmad=false has the reason of -ffp-contract=off: a vectorised kernel and a scalar one would
    # fuse different multiplications. The host's part of a file is compiled with the host's own
    # rules, and AArch64 has fused multiply-adds.
    target_compile_options(leasehold_${name} PRIVATE --threads=2 --fmad=false -Xcompiler=-Wall,-ffp-contract=off,-fsigned-char)
    if(LEASEHOLD_WARNINGS_AS_ERRORS)
      target_compile_options(leasehold_${name} PRIVATE --Werror=all-warnings)
    endif()
  endif()
endfunction()

# leasehold_no_host_touch(a.cc ...): names sources of the calling folder whose loops never see
# device memory and should be fast in emulated builds, too.
function(leasehold_no_host_touch)
  if(LEASEHOLD_HOST_TOUCH)
    set_source_files_properties(${ARGN} PROPERTIES
      COMPILE_OPTIONS -fno-sanitize=kernel-address SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# `unit_tests` builds the test programs that need no other program, as a sanitizer's build does.
add_custom_target(unit_tests)
# `memory_tests` builds those unit tests whose subjects handle memory by hand; tests/run runs them
# under asan.
add_custom_target(memory_tests)
# `gpu_tests` builds the test programs with label gpu.
add_custom_target(gpu_tests)

# A test that computes takes two of ctest's slots, and one that mostly waits for other programs
# takes one, so that `ctest --parallel $((2 * $(nproc)))` keeps the cores busy.
set(LEASEHOLD_SLOTS_COMPUTING 2)
set(LEASEHOLD_SLOTS_WAITING 1)
# The time limit, in seconds, for one program with all of its tests. Sanitizers slow it down.
set(LEASEHOLD_PROGRAM_TIMEOUT 600)
if(LEASEHOLD_SANITIZE)
  set(LEASEHOLD_PROGRAM_TIMEOUT 3600)
endif()

# leasehold_test(NAME SOURCES a_test.cc ... DEPENDS base ... [TIMEOUT seconds] [LABELS cpu] [SHARDS
#     n] [WAITS])
#   Defines one GoogleTest program. One ctest test runs all of it, because starting a process for
#   each of its tests takes longer than the tests. WAITS: the program waits more than it computes.
#   SHARDS: n ctest tests, NAME.1 to NAME.n, share the program's tests. With label cpu (the default)
#   the program belongs to `unit_tests`.
function(leasehold_test name)
  cmake_parse_arguments(ARG "WAITS" "TIMEOUT;SHARDS" "SOURCES;DEPENDS;LINKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT ${LEASEHOLD_PROGRAM_TIMEOUT})
  endif()
  if(NOT ARG_LABELS)
    set(ARG_LABELS cpu)
  endif()
  if(NOT ARG_SHARDS)
    set(ARG_SHARDS 1)
  endif()
  set(slots ${LEASEHOLD_SLOTS_COMPUTING})
  if(ARG_WAITS)
    set(slots ${LEASEHOLD_SLOTS_WAITING})
  endif()
  set(target ${name}_test)
  set(is_memory_test FALSE)
  if("cpu" IN_LIST ARG_LABELS AND CMAKE_CURRENT_SOURCE_DIR MATCHES "/tests/(runtime|collectives|models)(/|$)")
    set(is_memory_test TRUE)
  endif()
  if(is_memory_test AND LEASEHOLD_TESTS_FROM)
    leasehold_place_in(${LEASEHOLD_TESTS_FROM} ${target}_files archive)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${target}_nothing.cc "")
    add_executable(${target} ${CMAKE_CURRENT_BINARY_DIR}/${target}_nothing.cc)
    set_target_properties(${target} PROPERTIES LINK_DEPENDS ${archive})
    # The libraries come before the tests' object files: of inline functions that both have, the
    # linker takes the first.
    leasehold_built_here(product ${ARG_DEPENDS})
    list(TRANSFORM product REPLACE "(.+)" "$<TARGET_FILE:leasehold_\\1>")
    target_link_options(${target} PRIVATE -Wl,--whole-archive ${product} ${archive} -Wl,--no-whole-archive)
  else()
    add_executable(${target} ${ARG_SOURCES})
    leasehold_precompile(${target} tests)
  endif()
  if(is_memory_test AND NOT LEASEHOLD_SANITIZE)
    add_library(${target}_files STATIC $<TARGET_OBJECTS:${target}>)
    set_target_properties(${target}_files PROPERTIES LINKER_LANGUAGE CXX)
  endif()
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(${target} PRIVATE leasehold::${dependency})
  endforeach()
  target_link_libraries(${target} PRIVATE ${ARG_LINKS} GTest::gtest GTest::gtest_main)
  if("cpu" IN_LIST ARG_LABELS)
    add_dependencies(unit_tests ${target})
    if(is_memory_test)
      add_dependencies(memory_tests ${target})
      list(APPEND ARG_LABELS memory)
    endif()
  elseif("gpu" IN_LIST ARG_LABELS)
    add_dependencies(gpu_tests ${target})
  endif()
  foreach(shard RANGE 1 ${ARG_SHARDS})
    set(test ${name})
    set(environment)
    if(ARG_SHARDS GREATER 1)
      set(test ${name}.${shard})
      math(EXPR index "${shard} - 1")
      set(environment GTEST_TOTAL_SHARDS=${ARG_SHARDS} GTEST_SHARD_INDEX=${index})
    endif()
    add_test(NAME ${test} COMMAND ${target} WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR})
    set_tests_properties(${test} PROPERTIES
      TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" PROCESSORS ${slots} ENVIRONMENT "${environment}")
  endforeach()
endfunction()

# leasehold_mpi_test(NAME RANKS 1 2 4 SOURCES ... DEPENDS ... [TIMEOUT seconds] [LABELS mpi ...])
#   Defines one GoogleTest program with its own main() (MPI_Init first). For each number of ranks
#   one ctest test runs all of it.
function(leasehold_mpi_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LINKS;RANKS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
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
      COMMAND ${LEASEHOLD_MPIRUN} -np ${ranks} $<TARGET_FILE:${target}>)
    set_tests_properties(${name}.mpi_${ranks} PROPERTIES
      TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}" PROCESSORS ${LEASEHOLD_SLOTS_COMPUTING})
  endforeach()
endfunction()

# leasehold_bench(NAME SOURCES ... DEPENDS ...): defines the program build/<preset>/bench/NAME.
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
