// Rewrites TOML text in ASCII for toml++. The library's test for white space (3.3 and 3.4) marks a
// place as unreachable that many characters do reach in and after keys and values, U+00A1 to U+0499
// among them. That is undefined behavior, so the library is given ASCII only.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// Returns `text` in ASCII, with the same meaning and the same lines: other characters become
// escapes (\U000000E4) in strings and question marks in comments. Text in ASCII is returned
// unchanged. Fails with kBadConfig, naming path and line, if the text is not UTF-8 or has another
// character outside strings and comments, where TOML allows none.
Result<std::string> toml_in_ascii(std::string_view text, const std::string& path);

}  // namespace leasehold
