// The small text files of a Hugging Face folder next to weights and tokenizer. They say which ids
// begin and end a text, and how the library's tokenizer is set up. An import keeps them in the
// checkpoint (CheckpointInfo::model_files) and an export writes them again, so that the exported
// ids are the imported ones.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/describe.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/checkpoint_info.h"

namespace leasehold {

// The name under which the token ids of config.json are kept, without its other fields.
inline constexpr const char* kTokenIdsFile = "config.json";

struct CompanionFiles {
  std::map<std::string, std::string> texts;  // by name, unchanged
  std::vector<std::string> notices;          // a line for each file that exists and is not kept
};

// Reads generation_config.json and, with `with_tokenizer`, also tokenizer_config.json,
// special_tokens_map.json, added_tokens.json and chat_template.jinja. Adds `token_ids` (of
// HuggingFaceConfig) unless they are empty. Leaves out, with a notice, a file that is not UTF-8, is
// not a JSON object where it should be one, or is larger than 4 MiB. kStorage if a file cannot be
// read.
Result<CompanionFiles> read_companion_files(FileSystem& files, const std::string& folder,
                                            const std::string& token_ids, bool with_tokenizer);

struct ExportedFiles {
  std::map<std::string, std::string> texts;  // by name; all but weights and config.json
  std::string token_ids;                     // a JSON object of config.json's fields for ids
  std::string tokenizer;                     // the outcome for the tokenizer, for people
};

// Makes the files that an export writes next to the weights. tokenizer.json has the checkpoint's
// own text. tokenizer_config.json always names the inputs of Leasehold's models (model_input_names:
// input_ids, attention_mask); without it transformers passes token types to them. A checkpoint that
// was not imported gets the ids that its tokenizer knows, and null for the others, since
// transformers replaces missing ids by its own defaults. kBadData if the tokenizer cannot be read.
Result<ExportedFiles> companion_files_of(const CheckpointInfo& info, const ModelConfig& config);

}  // namespace leasehold
