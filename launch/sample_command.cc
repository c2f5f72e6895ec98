#include "launch/sample_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>

#include "launch/checkpoint_next_token.h"

namespace leasehold {

namespace {

Status check_command(const SampleCommand& command) {
  const TokenChoice& choice = command.generation.choice;
  if (command.generation.tokens < 1)
    return error(Code::kUsage, "--tokens {}: at least 1", command.generation.tokens);
  if (choice.top_k < 0) return error(Code::kUsage, "--top-k {}: 0 (all) or more", choice.top_k);
  if (!(choice.top_p > 0 && choice.top_p <= 1))
    return error(Code::kUsage, "--top-p {}: above 0, up to 1 (all)", choice.top_p);
  if (!(choice.temperature >= 0 && std::isfinite(choice.temperature)))
    return error(Code::kUsage, "--temperature {}: 0 or more", choice.temperature);
  if (command.prompt_file.empty() && command.prompt.empty())
    return error(Code::kUsage, "--prompt must not be empty: the model continues it");
  return ok_status();
}

Result<std::string> read_prompt(const SampleCommand& command) {
  if (command.prompt_file.empty()) return command.prompt;
  std::string prompt;
  if (command.prompt_file == "-") {
    prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    LEASEHOLD_ASSIGN_OR_RETURN(prompt, read_file(posix_files(), command.prompt_file));
  }
  if (prompt.empty())
    return error(Code::kBadData,
                 "--prompt-file {}: it is empty; the model needs a text to continue",
                 command.prompt_file);
  return prompt;
}

// Returns the prompt's ids, with the begin token before them if one is wanted.
Result<std::vector<int32_t>> ids_of(const SampleCommand& command, const Tokenizer& tokenizer,
                                    const std::string& prompt) {
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.encode(prompt));
  if (command.begin_token == "none") return ids;
  const std::optional<int32_t> begin = command.begin_token == "own"
                                           ? tokenizer.beginning_of_document()
                                           : tokenizer.token_id(command.begin_token);
  if (!begin) {
    return error(Code::kUsage,
                 "--begin-token {}: the tokenizer has none; write one of its tokens, such as "
                 "\"<s>\", or none",
                 command.begin_token);
  }
  ids.insert(ids.begin(), *begin);
  return ids;
}

}  // namespace

Status run_sample(const SampleCommand& command) {
  LEASEHOLD_RETURN_IF_ERROR(check_command(command));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string prompt, read_prompt(command));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto model,
                             CheckpointModel::load(posix_files(), command.checkpoint,
                                                   {command.device, command.num_threads}));
  LEASEHOLD_ASSIGN_OR_RETURN(const Tokenizer* tokenizer, model->tokenizer());
  for (const std::string& notice : tokenizer->notices()) fmt::print(stderr, "sample: {}\n", notice);
  const int64_t V = model->config().vocab;
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<int32_t> ids, ids_of(command, *tokenizer, prompt));
  if (std::ranges::any_of(ids, [&](int32_t id) { return id >= V; })) {
    return error(Code::kBadData,
                 "the prompt has tokens that the model lacks: its vocabulary has {} ids", V);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(
      const auto next, create_next_token(*model, std::ssize(ids) + command.generation.tokens));
  const auto show = [](std::string_view text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  };
  show(prompt);
  LEASEHOLD_RETURN_IF_ERROR(generate(*next, *tokenizer, std::move(ids), command.generation, show));
  show("\n");
  return ok_status();
}

}  // namespace leasehold
