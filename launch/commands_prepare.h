// `leasehold prepare`: text to token files.
#pragma once

#include <string>

#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/data/prepare.h"

namespace leasehold {

struct PrepareCommand {
  std::string tokenizer;
  PrepareOptions options;
};

// SIGINT and SIGTERM stop it, leaving nothing half written. What was done goes to `logger`.
Status run_prepare(const PrepareCommand& command, const Logger& logger);

}  // namespace leasehold
