// Encodes bytes as text in JSON (RFC 4648, section 4, with padding).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace leasehold {

std::string to_base64(std::string_view bytes);
// Returns nullopt for any text that to_base64 never writes.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace leasehold
