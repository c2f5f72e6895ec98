// Adds numeric options to a command line. Each has a range. A value outside it, or text that is no
// number, is refused with the option's name, the value and the range; CLI11's own options clamp a
// value that does not fit their type. For main files, since it includes CLI11.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <fmt/format.h>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

#include <CLI/CLI.hpp>

namespace leasehold {

template <typename Number>
struct NumberRange {
  Number low;
  Number high;
  bool high_excluded = false;

  bool holds(Number value) const {
    return value >= low && (high_excluded ? value < high : value <= high);
  }
  // Returns "a whole number from 1 to 1024" or "a number from 0 to 1, below 1".
  std::string words() const {
    return fmt::format("a {}number from {} to {}{}", std::integral<Number> ? "whole " : "", low,
                       high, high_excluded ? fmt::format(", below {}", high) : "");
  }
};

// Parses all of `text` as a number. Accepts no white space, no plus sign, no infinity and no value
// that does not fit the type.
template <typename Number>
std::optional<Number> parse_number(const std::string& text) {
  Number number{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if constexpr (std::floating_point<Number>) {
    if (!std::isfinite(number)) return std::nullopt;
  }
  return number;
}

// Adds an option that stores into `value`, a number or an optional one. Shows the present value as
// the default.
template <typename Value, typename Number>
CLI::Option* add_number(CLI::App& app, const std::string& name, Value& value,
                        NumberRange<Number> range, const std::string& meaning) {
  const auto store = [name, range, &value](const std::string& text) {
    const std::optional<Number> number = parse_number<Number>(text);
    if (!number || !range.holds(*number)) {
      throw CLI::ValidationError(name, fmt::format("'{}' is not {}", text, range.words()));
    }
    value = static_cast<Value>(*number);
  };
  CLI::Option* option = app.add_option_function<std::string>(name, store, meaning);
  option->type_name(std::integral<Number> ? "INTEGER" : "NUMBER");
  if constexpr (std::is_arithmetic_v<Value>) option->default_str(fmt::format("{}", value));
  return option;
}

// The threads of one process: more than any machine has cores, but few enough to be started.
inline constexpr NumberRange<int64_t> kThreadsRange{1, 1024};
inline constexpr NumberRange<int64_t> kAnyCount{0, std::numeric_limits<int64_t>::max()};

}  // namespace leasehold
