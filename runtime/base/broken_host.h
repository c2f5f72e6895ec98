// A code next to those of status.h, for failures that are this machine's alone.
#pragma once

#include "runtime/base/status.h"

namespace leasehold {

// A part of this machine broke (a GPU's memory, a link): the job goes on without it. Exit code 71
// (EX_OSERR of sysexits.h).
inline constexpr Code kBrokenHost = static_cast<Code>(71);

}  // namespace leasehold
