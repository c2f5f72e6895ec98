// Finds the known name that a misspelled one most likely means.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace leasehold {

// Returns the Levenshtein distance of the first 64 bytes. Longer names need not be compared to
// their end.
size_t edit_distance(std::string_view a, std::string_view b);

// Returns the nearest of `known`, the first of several; empty if `known` is.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

}  // namespace leasehold
