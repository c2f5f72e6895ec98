// Tokenizers that Hugging Face's own library runs (reference_process.h): its results, document by
// document, as with add_special_tokens=False. Nothing is known of the inside, so a text is encoded
// whole, and at most kMaxReferenceTextBytes of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/reference_process.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

inline constexpr int64_t kMaxReferenceTextBytes = int64_t{16} << 20;

// `root` is what `json`, a tokenizer.json, says; `file` is its name and `reason` says what is not
// implemented here, both for messages. A process starts with start(), or when one is needed, and
// one more for each further thread that encodes: errors as ReferenceProcess::start, with file and
// reason. kBadData when the file names no ids.
Result<std::unique_ptr<Tokenizer>> create_reference_tokenizer(const nlohmann::json& root,
                                                              std::string_view json,
                                                              const std::string& file,
                                                              const std::string& reason,
                                                              const ReferenceProgram& program);

}  // namespace leasehold
