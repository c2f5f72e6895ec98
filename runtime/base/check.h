// Checks what a programmer promises. (Input gets a Status instead.) A failed check throws
// StatusError with Code::kInternal, so a library never ends the process.
#pragma once

#include "runtime/base/status.h"

namespace leasehold {

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& message);

}  // namespace leasehold

// Example: LEASEHOLD_CHECK(rows > 0, "linear {}: {} rows", name, rows)
#define LEASEHOLD_CHECK(condition, ...)                                                      \
  do {                                                                                       \
    if (!(condition)) [[unlikely]]                                                           \
      ::leasehold::check_failed(__FILE__, __LINE__, #condition, ::fmt::format(__VA_ARGS__)); \
  } while (false)
