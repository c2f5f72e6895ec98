// Makes TOML text fit for toml++. The library's test for white space (3.3 and 3.4) declares a place
// unreachable that many characters reach, U+00A1 to U+0499 among them, in and after keys and
// values. That leaves the program undefined, so the library gets ASCII alone.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

// Returns `text` in ASCII, with the same meaning and the same lines: strings have escapes (\u00E4)
// in place of other characters, comments have question marks. Text that is ASCII is returned as it
// is. Fails with kBadConfig, naming path and line, when the text is not UTF-8, or has another
// character outside strings and comments, where TOML knows none.
Result<std::string> toml_in_ascii(std::string_view text, const std::string& path);

}  // namespace leasehold
