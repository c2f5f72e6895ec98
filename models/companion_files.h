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

// The name under which the token ids of config.json, and nothing else of it, are kept.
inline constexpr const char* kTokenIdsFile = "config.json";

struct CompanionFiles {
  std::map<std::string, std::string> texts;  // by name, as they are
  std::vector<std::string> notices;          // a line for each file that exists and is not kept
};

// Reads generation_config.json, and where the tokenizer is taken too (`with_tokenizer`)
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja. Adds
// `token_ids` (of HuggingFaceConfig) unless they are empty. A file that is not UTF-8, is no JSON
// object where it should be one, or has more than 4 MiB is left out, with a notice. kStorage when a
// file cannot be read.
Result<CompanionFiles> read_companion_files(FileSystem& files, const std::string& folder,
                                            const std::string& token_ids, bool with_tokenizer);

struct ExportedFiles {
  std::map<std::string, std::string> texts;  // by name; all but weights and config.json
  std::string token_ids;                     // a JSON object of config.json's fields for ids
  std::string tokenizer;                     // what became of it, for a person
};

// Makes what an export writes next to the weights. tokenizer.json has the checkpoint's own text.
// tokenizer_config.json always names the inputs of Leasehold's models (model_input_names:
// input_ids, attention_mask): without it transformers gives them token types. A checkpoint that was
// not imported gets the ids that its tokenizer knows, and null for the others, since transformers
// assumes ids of its own for those that are not given. kBadData for a tokenizer that cannot be
// read.
Result<ExportedFiles> companion_files_of(const CheckpointInfo& info, const ModelConfig& config);

}  // namespace leasehold
