#include "launch/generate.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/random.h"
#include "runtime/data/token_stream.h"

namespace leasehold {

namespace {

// Returns the logits of the tokenizer's ids. The model's vocabulary may have been rounded up.
Result<std::span<const float>> known_logits(NextToken& model, std::span<const int32_t> ids,
                                            int64_t known) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto logits, model.logits_after(ids));
  const auto ours = logits.first(static_cast<size_t>(std::min(known, std::ssize(logits))));
  if (std::ranges::all_of(ours, [](float logit) { return std::isfinite(logit); })) return ours;
  return error(Code::kBadData,
               "after {} tokens the model's logits are not finite: the run diverged, or the "
               "weights are damaged",
               ids.size());
}

}  // namespace

Status generate(NextToken& model, const Tokenizer& tokenizer, std::vector<int32_t> ids,
                const Generation& generation, const std::function<void(std::string_view)>& show) {
  if (ids.empty()) {
    return error(Code::kBadData,
                 "the prompt has no tokens in the model's tokenizer: use another prompt, or a "
                 "token before it (--begin-token)");
  }
  TokenStream text(tokenizer);
  LEASEHOLD_RETURN_IF_ERROR(text.skip(ids));
  const RandomSite site = RandomSite::make(static_cast<uint64_t>(generation.seed), "sample");
  const auto ends = tokenizer.end_tokens();
  for (int64_t i = 0; i < generation.tokens; ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto logits, known_logits(model, ids, tokenizer.vocab_size()));
    const int32_t id =
        choose_token(logits, generation.choice, site.uniform(static_cast<uint64_t>(i)));
    if (!generation.ignore_end && std::ranges::count(ends, id) > 0) break;
    ids.push_back(id);
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string more, text.push(id));
    show(more);
  }
  show(text.finish());
  return ok_status();
}

}  // namespace leasehold
