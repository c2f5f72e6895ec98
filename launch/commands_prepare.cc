#include "launch/commands_prepare.h"

#include <atomic>
#include <csignal>

namespace leasehold {

namespace {

// A signal handler can reach nothing else.
std::atomic<bool> stop_requested = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

void request_stop(int) { stop_requested.store(true); }

}  // namespace

Status run_prepare(const PrepareCommand& command, const Logger& logger) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokenizer, create_tokenizer(command.tokenizer));
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  PrepareOptions options = command.options;
  options.stopped = &stop_requested;
  LEASEHOLD_ASSIGN_OR_RETURN(const PrepareSummary summary,
                             prepare_tokens(posix_files(), *tokenizer, options, logger));
  logger.info("{}: {} bytes of text from {} file{}: {} tokens to train on, {} to validate on",
              options.output_dir, summary.text_bytes, options.inputs.size(),
              options.inputs.size() == 1 ? "" : "s", summary.train_tokens,
              summary.validation_tokens);
  return ok_status();
}

}  // namespace leasehold
