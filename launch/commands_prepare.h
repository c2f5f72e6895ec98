// `leasehold prepare`: text to token files.
#pragma once

#include <string>

#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/data/prepare.h"

namespace leasehold {

struct PrepareCommand {
  std::string tokenizer;  // a name or a path: see load_tokenizer
  std::string format = "auto";
  // Around documents: the text of a token, "own" for the tokenizer's, "none" for none.
  std::string begin_token = "none";
  std::string end_token = "own";
  PrepareOptions options;
};

// SIGINT and SIGTERM stop it, leaving nothing half written. How it goes is shown on stderr, what
// was done goes to `logger`.
Status run_prepare(const PrepareCommand& command, const Logger& logger);

}  // namespace leasehold
