// Defines the code of failures that concern this machine alone, next to the codes of status.h.
#pragma once

#include "runtime/base/status.h"

namespace leasehold {

// A part of this machine broke (a GPU's memory, a link). The job continues without the machine.
// Exit code 71 (EX_OSERR of sysexits.h).
inline constexpr Code kBrokenHost = static_cast<Code>(71);

}  // namespace leasehold
