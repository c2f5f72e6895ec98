#include "launch/commands_prepare.h"

#include "launch/prepare_progress.h"
#include "launch/stop_signals.h"

namespace leasehold {

Status run_prepare(const PrepareCommand& command, const Logger& logger) {
  PrepareOptions options = command.options;
  LEASEHOLD_ASSIGN_OR_RETURN(options.format, parse_prepare_format(command.format));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokenizer,
                             load_tokenizer(posix_files(), command.tokenizer));
  options.stopped = &catch_stop_signals();
  PrepareProgress progress(system_clock(), stderr);
  options.on_progress = [&](int64_t done, int64_t total) { progress.show(done, total); };
  const auto prepared = prepare_tokens(posix_files(), *tokenizer, options);
  progress.finish();
  LEASEHOLD_ASSIGN_OR_RETURN(const PrepareSummary summary, prepared);
  logger.info("{}: {} bytes from {} file{}: {} tokens to train on, {} to validate on",
              options.output_dir, summary.input_bytes, options.inputs.size(),
              options.inputs.size() == 1 ? "" : "s", summary.train_tokens,
              summary.validation_tokens);
  return ok_status();
}

}  // namespace leasehold
