# Defines all build options, and the compiler flags that decide the arithmetic class.
option(LEASEHOLD_BUILD_TESTS "Build the tests" ON)
option(LEASEHOLD_BUILD_BENCH "Build the benchmarks" ON)
option(LEASEHOLD_WARNINGS_AS_ERRORS "Treat compiler warnings as errors" ON)
# On AArch64 every processor runs armv8-a, which has NEON and fused multiply-adds. The build does
# without SVE: its vectors are as long as the machine's, and the loops have a fixed number of lanes.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(march x86-64-v3)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(march armv8-a)
elseif(NOT LEASEHOLD_MARCH)
  message(FATAL_ERROR "Leasehold is built and tested for x86-64 and AArch64, and this is ${CMAKE_SYSTEM_PROCESSOR}: name its "
    "instruction set with -DLEASEHOLD_MARCH to try; it must have fused multiply-adds")
endif()
set(LEASEHOLD_MARCH "${march}" CACHE STRING
    "Instruction set of the build; part of the arithmetic class, so never 'native' for a job that moves")
set(LEASEHOLD_SANITIZE "" CACHE STRING "Sanitizers to build with: empty, 'address,undefined' or 'thread'")
option(LEASEHOLD_SANITIZER_LINES "Sanitizers report lines as well as functions; takes longer to build" ON)
option(LEASEHOLD_PRECOMPILE "Compile the common headers once for all files" ON)
option(LEASEHOLD_FUZZ "Build the fuzzers of tests/fuzzing (clang only; see the preset 'fuzz')" OFF)

set(LEASEHOLD_GPU "absent" CACHE STRING
    "GPUs: 'absent', 'cuda' (nvcc and the vendor's libraries) or 'emulated' (the same sources on this machine's processor)")
set_property(CACHE LEASEHOLD_GPU PROPERTY STRINGS absent cuda emulated)
if(NOT LEASEHOLD_GPU MATCHES "^(absent|cuda|emulated)$")
  message(FATAL_ERROR "LEASEHOLD_GPU is '${LEASEHOLD_GPU}'; write absent, cuda or emulated")
endif()
# Each architecture gets machine code; the last also gets PTX, which drivers compile for newer
# devices.
set(LEASEHOLD_CUDA_ARCHITECTURES "80-real;90-real;100-real;103" CACHE STRING "GPU architectures of a build with cuda")

# A build may take parts of another one (build/release, up to date), as tests/run does. The
# emulation takes the libraries that are the same with every kind of GPU. asan takes the tests' own
# object files, so that only the product is instrumented.
set(LEASEHOLD_LIBRARIES_FROM "" CACHE PATH "Another build, whose libraries that are marked HOST_ONLY are used here")
set(LEASEHOLD_TESTS_FROM "" CACHE PATH "Another build, whose compiled files of the tests are used here")
foreach(from LEASEHOLD_LIBRARIES_FROM LEASEHOLD_TESTS_FROM)
  if(${from})
    set(options CMAKE_CXX_COMPILER LEASEHOLD_MARCH)
    if(from STREQUAL LEASEHOLD_LIBRARIES_FROM)
      list(APPEND options CMAKE_BUILD_TYPE LEASEHOLD_SANITIZE)
    endif()
    load_cache(${${from}} READ_WITH_PREFIX theirs_ ${options})
    foreach(option ${options})
      if(NOT "${theirs_${option}}" STREQUAL "${${option}}")
        message(FATAL_ERROR "${from}: ${${from}} is built with ${option} '${theirs_${option}}' and this build with "
          "'${${option}}', so the one does not fit the other; build all with -D ${from}=")
      endif()
    endforeach()
  endif()
endforeach()

find_program(LEASEHOLD_CCACHE ccache)
if(LEASEHOLD_CCACHE)
  # ccache needs these settings to work with precompiled headers.
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${LEASEHOLD_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${LEASEHOLD_CCACHE})
endif()

add_library(leasehold_flags INTERFACE)
add_library(leasehold::flags ALIAS leasehold_flags)
target_include_directories(leasehold_flags INTERFACE ${CMAKE_SOURCE_DIR})
# -Wno-restrict: gcc 12 warns falsely about "literal" + std::string (gcc bug 105651).
# -ffp-contract=off: a fused multiply-add chosen by the compiler would differ between a loop and its
# tail.
# -fno-math-errno and -fno-trapping-math change no result; they let loops with sqrt and comparisons
# vectorise.
set(flags
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wno-unknown-pragmas>
  -ffp-contract=off -fno-math-errno -fno-trapping-math -march=${LEASEHOLD_MARCH} -mtune=generic)
# Makes char signed as on x86; AArch64's own choice is unsigned.
if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  list(APPEND flags -fsigned-char)
endif()
if(LEASEHOLD_WARNINGS_AS_ERRORS)
  list(APPEND flags -Werror)
endif()
# These warnings depend on what the optimizer inlines, and have false alarms that change with each
# version; g++ 14 has one for a copy of a vector. They are shown but do not stop a build.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 13)
  list(APPEND flags -Wno-error=array-bounds -Wno-error=stringop-overflow -Wno-error=stringop-overread
    -Wno-error=maybe-uninitialized -Wno-error=dangling-reference)
endif()
# Only for C++: nvcc has its own names for these flags.
target_compile_options(leasehold_flags INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${flags}>")
if(LEASEHOLD_SANITIZE)
  # -Wno-maybe-uninitialized: gcc 12 has false alarms in std::regex and std::function under its
  # sanitizers. A target with the property LEASEHOLD_NO_TSAN tells the thread sanitizer itself how
  # it orders accesses.
  set(flags -fsanitize=${LEASEHOLD_SANITIZE})
  if(LEASEHOLD_SANITIZE STREQUAL "thread")
    set(flags $<$<NOT:$<BOOL:$<TARGET_PROPERTY:LEASEHOLD_NO_TSAN>>>:${flags}>)
  endif()
  target_compile_options(leasehold_flags INTERFACE
    ${flags} -fno-omit-frame-pointer -fno-sanitize-recover=all $<$<BOOL:${LEASEHOLD_SANITIZER_LINES}>:-g1>
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  # The address sanitizer detects null pointers and accesses outside objects, too. These checks
  # would take a fifth of the build's time.
  if(LEASEHOLD_SANITIZE STREQUAL "address,undefined")
    target_compile_options(leasehold_flags INTERFACE -fno-sanitize=null,vptr,object-size)
  endif()
  target_link_options(leasehold_flags INTERFACE -fsanitize=${LEASEHOLD_SANITIZE})
endif()

# Emulated builds catch host threads that touch device memory (tests/emulated_gpu/host_touch.h),
# except together with a sanitizer, in targets with the property LEASEHOLD_NO_HOST_TOUCH, and in
# sources that leasehold_no_host_touch() names.
set(LEASEHOLD_HOST_TOUCH OFF)
if(LEASEHOLD_GPU STREQUAL "emulated" AND NOT LEASEHOLD_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(LEASEHOLD_HOST_TOUCH ON)
  set(flags -fsanitize=kernel-address
    --param=asan-instrumentation-with-call-threshold=0 --param=asan-stack=0 --param=asan-globals=0)
  target_compile_options(leasehold_flags INTERFACE
    "$<$<AND:$<COMPILE_LANGUAGE:CXX>,$<NOT:$<BOOL:$<TARGET_PROPERTY:LEASEHOLD_NO_HOST_TOUCH>>>>:${flags}>")
  target_link_options(leasehold_flags INTERFACE -Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset)
  target_link_libraries(leasehold_flags INTERFACE leasehold_host_touch)
endif()
