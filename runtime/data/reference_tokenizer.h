// Tokenizers that Hugging Face's own library runs (reference_process.h), with its results for
// add_special_tokens=False. Nothing is known about their inside, so a text is encoded whole and
// must not exceed kMaxReferenceTextBytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "runtime/data/reference_process.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

inline constexpr int64_t kMaxReferenceTextBytes = int64_t{16} << 20;

// Makes a tokenizer from a tokenizer.json: `root` is the parsed `json`. In messages, `file` is its
// name, and `reason` says what Leasehold does not implement. start() starts a process; otherwise
// the first use does. Each further thread that encodes starts another one. These fail like
// ReferenceProcess::start, with file and reason. kBadData here if the file names no ids.
Result<std::unique_ptr<Tokenizer>> create_reference_tokenizer(const nlohmann::json& root,
                                                              std::string_view json,
                                                              const std::string& file,
                                                              const std::string& reason,
                                                              const ReferenceProgram& program);

}  // namespace leasehold
