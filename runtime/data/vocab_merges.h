// Reads folders with vocab.json and merges.txt. These two files say neither how text is cut nor
// which tokens were added. tokenizer_config.json next to them does, by the name of a class of
// Hugging Face's transformers.
#pragma once

#include <string>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/data/bpe_tokenizer.h"

namespace leasehold {

struct VocabMerges {
  BpeDescription description;
  bool add_prefix_space = false;
  std::vector<std::string> notices;
};

// Reads such a folder. The class is that of tokenizer_config.json, else of config.json, else
// GPT-2's with a notice. kBadData, naming it, for a class whose pattern is unknown here.
Result<VocabMerges> read_vocab_merges(FileSystem& files, const std::string& directory);

}  // namespace leasehold
