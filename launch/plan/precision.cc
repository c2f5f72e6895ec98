#include "launch/plan/precision.h"

#include <cctype>
#include <string>

namespace leasehold {

std::string_view precision_name(Precision precision) {
  static constexpr std::array<std::string_view, kNumPrecisions> kNames = {"fp32", "bf16", "fp8",
                                                                          "fp4"};
  return kNames[static_cast<size_t>(precision)];
}

std::optional<Precision> parse_precision(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto holds = [&](const char* part) { return lower.find(part) != std::string::npos; };
  if (holds("fp4")) return Precision::kFp4;
  if (holds("fp8")) return Precision::kFp8;
  if (holds("bf16") || holds("fp16")) return Precision::kBf16;
  if (holds("fp32")) return Precision::kFp32;
  return std::nullopt;
}

double element_bytes(Precision precision) {
  static constexpr std::array<double, kNumPrecisions> kBytes = {4, 2, 1, 0.5};
  return kBytes[static_cast<size_t>(precision)];
}

}  // namespace leasehold
