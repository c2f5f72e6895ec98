#include "launch/commands_prepare.h"

#include "launch/prepare_progress.h"
#include "launch/stop_signals.h"

namespace leasehold {

namespace {

constexpr std::string_view kOwnToken = "own", kNoToken = "none";

Result<int32_t> find_token(const Tokenizer& tokenizer, std::string_view option,
                           const std::string& text) {
  if (const auto id = tokenizer.token_id(text)) return *id;
  return error(
      Code::kUsage,
      "{} '{}' is not a single token of the tokenizer: write a token as the tokenizer's files do "
      "(\"</s>\"), or {}",
      option, text, kNoToken);
}

Status no_own_token(std::string_view option) {
  return error(Code::kUsage, "{} {}: the tokenizer names no such token: write the token's text",
               option, kOwnToken);
}

// Stores the tokens around documents in the tokenizer, and in `options` whether to add them.
Status choose_document_tokens(const PrepareCommand& command, Tokenizer& tokenizer,
                              PrepareOptions& options) {
  DocumentTokens tokens = tokenizer.document_tokens();
  options.begin_documents = command.begin_token != kNoToken;
  if (options.begin_documents && command.begin_token != kOwnToken) {
    LEASEHOLD_ASSIGN_OR_RETURN(tokens.begin,
                               find_token(tokenizer, "--begin-token", command.begin_token));
  }
  if (options.begin_documents && !tokens.begin) return no_own_token("--begin-token");
  options.end_documents = command.end_token != kNoToken;
  if (options.end_documents && command.end_token != kOwnToken) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int32_t end,
                               find_token(tokenizer, "--end-token", command.end_token));
    std::erase(tokens.ends, end);
    tokens.ends.insert(tokens.ends.begin(), end);
  }
  if (tokens != tokenizer.document_tokens()) tokenizer.set_document_tokens(std::move(tokens));
  options.document_options_given = options.begin_documents || command.end_token != kOwnToken;
  return ok_status();
}

}  // namespace

Status run_prepare(const PrepareCommand& command, const Logger& logger) {
  PrepareOptions options = command.options;
  LEASEHOLD_ASSIGN_OR_RETURN(options.format, parse_prepare_format(command.format));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokenizer,
                             load_tokenizer(posix_files(), command.tokenizer));
  for (const std::string& notice : tokenizer->notices()) logger.warning("{}", notice);
  LEASEHOLD_RETURN_IF_ERROR(choose_document_tokens(command, *tokenizer, options));
  if (options.field.empty() || options.field.find(',') != std::string::npos) {
    return error(Code::kUsage, "--field '{}': name one field", options.field);
  }
  options.on_notice = [&](const std::string& notice) { logger.warning("{}", notice); };
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
