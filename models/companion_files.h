// The small text files of a Hugging Face folder next to weights and tokenizer: which ids begin and
// end a text, and how the library's tokenizer is set up. An import keeps them in the checkpoint
// (CheckpointInfo::model_files) and an export writes them again, so that the ids that came in go
// out.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"

namespace leasehold {

// Under this name the token ids of config.json alone are kept.
inline constexpr const char* kTokenIdsFile = "config.json";

struct CompanionFiles {
  std::map<std::string, std::string> texts;  // by name, as they are
  std::vector<std::string> notices;          // a line for each that is there and is not kept
};

// generation_config.json, and where the tokenizer is taken (`with_tokenizer`)
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja; with
// `token_ids` (HuggingFaceConfig) where they are given. A file that is no UTF-8, no JSON object
// where it should be one, or above 4 MiB is not kept, with a notice. kStorage.
Result<CompanionFiles> read_companion_files(FileSystem& files, const std::string& folder,
                                            const std::string& token_ids, bool with_tokenizer);

struct ExportedFiles {
  std::map<std::string, std::string> texts;  // by name; all but weights and config.json
  std::string token_ids;                     // a JSON object of config.json's fields for ids
  std::string tokenizer;                     // what became of it, for a person
};

// What an export writes next to the weights. tokenizer.json has the checkpoint's own text, and
// tokenizer_config.json always names what the models of Leasehold take
// (model_input_names: input_ids, attention_mask): without it transformers gives them token types.
// A checkpoint that was not imported gets the ids that its tokenizer knows, and null for the
// others, since transformers assumes ids of its own for those that are not given. kBadData for a
// tokenizer that cannot be read.
Result<ExportedFiles> companion_files_of(const CheckpointInfo& info, const ModelConfig& config);

}  // namespace leasehold
