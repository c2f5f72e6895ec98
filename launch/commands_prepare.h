// Implements `leasehold prepare`, which turns text into token files.
#pragma once

#include <string>

#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/data/prepare.h"

namespace leasehold {

struct PrepareCommand {
  std::string tokenizer;  // a name or a path: see load_tokenizer
  std::string format = "auto";
  // Tokens around each document: the text of a token, "own" for the tokenizer's, or "none".
  std::string begin_token = "none";
  std::string end_token = "own";
  PrepareOptions options;
};

// Runs the command. Shows progress on stderr and logs a summary. SIGINT and SIGTERM stop it and
// leave nothing half written.
Status run_prepare(const PrepareCommand& command, const Logger& logger);

}  // namespace leasehold
