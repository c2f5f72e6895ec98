#include "launch/plan/hardware.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <fmt/ranges.h>
#include <set>

#include "launch/nearest_name.h"
#include "launch/plan/hardware_toml.h"
#include "launch/plan/shipped_hardware.h"

namespace leasehold {

namespace {

constexpr double kTera = 1e12;
constexpr double kGiga = 1e9;
constexpr double kMicro = 1e-6;
constexpr double kLeast = 1e-9;  // of any figure as it is written
constexpr double kMost = 1e12;

// A number that is written under table.key, in units of `scale`.
struct NumberKey {
  std::string_view full_name;
  double scale;
  double* target;
};

std::vector<NumberKey> number_keys(Hardware& hardware) {
  auto& products = hardware.products.values;
  auto& peak = hardware.peak.values;
  return {{"memory.gb", kGiga, &hardware.memory_bytes},
          {"memory.gb_s", kGiga, &hardware.memory_bytes_s},
          {"products.fp32", kTera, &products[0]},
          {"products.bf16", kTera, &products[1]},
          {"products.fp8", kTera, &products[2]},
          {"products.fp4", kTera, &products[3]},
          {"peak.fp32", kTera, &peak[0]},
          {"peak.bf16", kTera, &peak[1]},
          {"peak.fp8", kTera, &peak[2]},
          {"peak.fp4", kTera, &peak[3]},
          {"attention.forward", kTera, &hardware.attention.forward},
          {"attention.backward", kTera, &hardware.attention.backward},
          {"attention_flash2.forward", kTera, &hardware.attention_flash2.forward},
          {"attention_flash2.backward", kTera, &hardware.attention_flash2.backward},
          {"attention_flash1.forward", kTera, &hardware.attention_flash1.forward},
          {"attention_flash1.backward", kTera, &hardware.attention_flash1.backward},
          {"links.domain_gb_s", kGiga, &hardware.domain_bytes_s},
          {"links.network_gb_s", kGiga, &hardware.network_bytes_s},
          {"links.domain_hop_us", kMicro, &hardware.domain_hop_s},
          {"links.network_hop_us", kMicro, &hardware.network_hop_s}};
}

struct CountKey {
  std::string_view full_name;
  int64_t* target;
};

std::vector<CountKey> count_keys(Hardware& hardware) {
  return {{"units", &hardware.units}, {"links.domain", &hardware.domain}};
}

constexpr std::array<std::string_view, 4> kOtherKeys = {"name", "also", "per_thread",
                                                        "measured_here"};
constexpr std::array<std::string_view, 6> kNeeded = {
    "name", "memory.gb", "memory.gb_s", "attention.forward", "attention.backward", "units"};

std::string full_name(const HardwareEntry& entry) {
  return entry.table.empty() ? entry.key : entry.table + "." + entry.key;
}

std::string in_words(const HardwareEntry& entry) {
  struct {
    std::string operator()(double held) const { return fmt::format("the number {}", held); }
    std::string operator()(bool held) const { return held ? "true" : "false"; }
    std::string operator()(const std::string& held) const {
      return fmt::format("the string \"{}\"", held);
    }
    std::string operator()(const std::vector<std::string>&) const { return "a list of strings"; }
    std::string operator()(HardwareEntry::Other held) const { return std::string(held.type); }
  } const words;
  return std::visit(words, entry.value);
}

Result<double> positive_number(const HardwareEntry& entry) {
  const auto* number = std::get_if<double>(&entry.value);
  if (number == nullptr) {
    return error(Code::kBadConfig, "expected a number, got {}", in_words(entry));
  }
  if (!std::isfinite(*number) || *number < kLeast || *number > kMost) {
    return error(Code::kBadConfig,
                 "{} is out of range; it must be from {} to {}; leave out what the part does not "
                 "have",
                 *number, kLeast, kMost);
  }
  return *number;
}

Status read_count(const HardwareEntry& entry, int64_t& count) {
  constexpr double kMostCounted = 1 << 20;
  LEASEHOLD_ASSIGN_OR_RETURN(const double number, positive_number(entry));
  if (number != std::floor(number) || number > kMostCounted) {
    return error(Code::kBadConfig, "{} is no count; write a whole number from 1 to {}", number,
                 kMostCounted);
  }
  count = static_cast<int64_t>(number);
  return ok_status();
}

// Reads an entry that is neither a number nor a count; nothing when there is no such key.
Status read_other(const HardwareEntry& entry, Hardware& hardware) {
  const std::string name = full_name(entry);
  if (name == "name") {
    const auto* text = std::get_if<std::string>(&entry.value);
    if (text == nullptr || text->empty()) {
      return error(Code::kBadConfig, "expected a string that is not empty, got {}",
                   in_words(entry));
    }
    hardware.name = *text;
  } else if (name == "also") {
    const auto* names = std::get_if<std::vector<std::string>>(&entry.value);
    if (names == nullptr) {
      return error(Code::kBadConfig, "expected a list of strings, got {}", in_words(entry));
    }
    hardware.also = *names;
  } else {
    const auto* flag = std::get_if<bool>(&entry.value);
    if (flag == nullptr) {
      return error(Code::kBadConfig, "expected true or false, got {}", in_words(entry));
    }
    (name == "per_thread" ? hardware.per_thread : hardware.measured_here) = *flag;
  }
  return ok_status();
}

std::vector<std::string_view> known_keys(Hardware& hardware) {
  std::vector<std::string_view> known(kOtherKeys.begin(), kOtherKeys.end());
  for (const NumberKey& key : number_keys(hardware)) known.push_back(key.full_name);
  for (const CountKey& key : count_keys(hardware)) known.push_back(key.full_name);
  return known;
}

Status read_entry(const HardwareEntry& entry, Hardware& hardware) {
  const std::string name = full_name(entry);
  for (const NumberKey& key : number_keys(hardware)) {
    if (key.full_name != name) continue;
    LEASEHOLD_ASSIGN_OR_RETURN(const double number, positive_number(entry));
    *key.target = number * key.scale;
    return ok_status();
  }
  for (const CountKey& key : count_keys(hardware)) {
    if (key.full_name == name) return read_count(entry, *key.target);
  }
  if (std::find(kOtherKeys.begin(), kOtherKeys.end(), name) != kOtherKeys.end()) {
    return read_other(entry, hardware);
  }
  return error(Code::kBadConfig, "there is no such key; did you mean {}?",
               nearest_name(name, known_keys(hardware)));
}

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

}  // namespace

Result<Hardware> parse_hardware(std::string_view text, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto entries, read_hardware_toml(text, path));
  Hardware hardware;
  std::set<std::string> given;
  for (const HardwareEntry& entry : entries) {
    const Status read = read_entry(entry, hardware);
    if (!read.ok()) {
      return read.annotated(fmt::format("{}:{}: {}", path, entry.line, full_name(entry)));
    }
    given.insert(full_name(entry));
  }
  for (const std::string_view name : kNeeded) {
    if (given.contains(std::string(name))) continue;
    return error(Code::kBadConfig, "{}: {} is needed and missing: docs/planning.md says what it is",
                 path, name);
  }
  if (std::all_of(hardware.products.values.begin(), hardware.products.values.end(),
                  [](double rate) { return rate == 0; })) {
    return error(Code::kBadConfig,
                 "{}: products.fp32, bf16, fp8 and fp4 are all missing: write at least one, the "
                 "fastest measured product in TFLOP/s",
                 path);
  }
  return hardware;
}

std::vector<std::string> shipped_hardware_names() {
  std::vector<std::string> names;
  for (const ShippedFile& file : shipped_hardware_files()) names.emplace_back(file.name);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Hardware> shipped_hardware(std::string_view name) {
  for (const ShippedFile& file : shipped_hardware_files()) {
    LEASEHOLD_ASSIGN_OR_RETURN(Hardware hardware,
                               parse_hardware(file.text, std::string(file.name) + ".toml"));
    const auto is_it = [&](const std::string& known) { return same_name(known, name); };
    if (is_it(hardware.name) || std::any_of(hardware.also.begin(), hardware.also.end(), is_it)) {
      return hardware;
    }
  }
  return error(Code::kBadConfig,
               "there are no figures for '{}'; known are {}; --hardware takes a "
               "file with those of another part (docs/planning.md)",
               name, fmt::join(shipped_hardware_names(), ", "));
}

}  // namespace leasehold
