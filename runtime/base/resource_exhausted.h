// A code next to those of status.h, for memory that does not suffice.
#pragma once

#include "runtime/base/status.h"

namespace leasehold {

// A device or a host has no memory for what the job wants: starting again would end alike. Exit
// code
// 72. Where all ranks find it out together before step 0 it is the job's, and they say kBadConfig.
inline constexpr Code kResourceExhausted = static_cast<Code>(72);

// The same status, as a refusal of the job if memory did not suffice.
inline Status as_refusal(const Status& status) {
  return status.code() == kResourceExhausted ? Status(Code::kBadConfig, status.message()) : status;
}

}  // namespace leasehold
