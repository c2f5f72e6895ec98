// What somebody most likely meant who wrote a name that is not known.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace leasehold {

// Levenshtein distance of the first 64 bytes: longer names are nonsense, which need not be compared
// to its end.
size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, the first of several; empty when there are none.
std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

}  // namespace leasehold
