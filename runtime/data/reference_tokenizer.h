// Tokenizers that Hugging Face's own library runs (reference_process.h): its results, document by
// document, as with add_special_tokens=False. Nothing is known of the inside, so a text is encoded
// whole, and at most kMaxReferenceTextBytes of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/data/reference_process.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

inline constexpr int64_t kMaxReferenceTextBytes = int64_t{16} << 20;

// `json` is tokenizer.json, `file` its name and `reason` says what is not implemented here, both
// for messages. A process is started now, and one more for each further thread that encodes. Errors
// as ReferenceProcess::start, with file and reason.
Result<std::unique_ptr<Tokenizer>> create_reference_tokenizer(std::string_view json,
                                                              const std::string& file,
                                                              const std::string& reason,
                                                              const ReferenceProgram& program);

}  // namespace leasehold
