// The hardware files that belong to the program, as text: launch/plan/hardware/*.toml.
#pragma once

#include <span>
#include <string_view>

namespace leasehold {

struct ShippedFile {
  std::string_view name;  // without .toml
  std::string_view text;
};

// Sorted by name.
std::span<const ShippedFile> shipped_hardware_files();

}  // namespace leasehold
