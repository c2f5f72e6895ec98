#include "launch/supervisor/forecast_words.h"

#include <array>
#include <charconv>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxRanks = 1 << 20;

// Digits up to the end of `text`, or up to the next colon, which is taken as well.
std::optional<int64_t> take_number(std::string_view& text) {
  const std::string_view digits = text.substr(0, text.find(':'));
  int64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool fine = parsed.ec == std::errc() && parsed.ptr == digits.data() + digits.size();
  if (!fine || number < 0 || number > kMaxRanks) return std::nullopt;
  text.remove_prefix(std::min(digits.size() + 1, text.size()));
  return number;
}

Result<std::pair<LayoutOfWorld, int64_t>> parse_line(std::string_view line) {
  const std::string file = "leasehold-train's forecast";
  LEASEHOLD_ASSIGN_OR_RETURN(const auto json, parse_strict_json(line, file, 1));
  const JsonCursor at(json, file);
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"world", "pipeline", "chunks", "zero", "bytes"}));
  LayoutOfWorld of;
  LEASEHOLD_ASSIGN_OR_RETURN(of.world, at.field("world").integer(1, kMaxRanks));
  LEASEHOLD_ASSIGN_OR_RETURN(of.layout.pipeline, at.field("pipeline").integer(1, kMaxRanks));
  LEASEHOLD_ASSIGN_OR_RETURN(of.layout.chunks, at.field("chunks").integer(1, kMaxRanks));
  LEASEHOLD_ASSIGN_OR_RETURN(of.layout.zero, at.field("zero").integer(0, 3));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t bytes, at.field("bytes").integer());
  return std::pair(of, bytes);
}

}  // namespace

std::string forecast_argument(const LayoutOfWorld& question) {
  const Layout& layout = question.layout;
  return fmt::format("{}:{}:{}:{}", question.world, layout.pipeline, layout.chunks, layout.zero);
}

Result<LayoutOfWorld> parse_forecast_argument(std::string_view text) {
  std::string_view rest = text;
  std::array<int64_t, 4> numbers{};
  bool fine = true;
  for (size_t i = 0; i < numbers.size() && fine; ++i) {
    const bool ends_here = rest.find(':') == std::string_view::npos;
    const auto number = take_number(rest);
    fine = number && ends_here == (i + 1 == numbers.size());
    numbers[i] = number.value_or(0);
  }
  const auto [world, pipeline, chunks, zero] = numbers;
  if (fine && world > 0 && pipeline > 0 && chunks > 0 && zero <= 3) {
    return LayoutOfWorld{world, {.pipeline = pipeline, .chunks = chunks, .zero = zero}};
  }
  return error(Code::kUsage,
               "--forecast {}: write WORLD:PIPELINE:CHUNKS:ZERO, \"8:2:1:3\" for 8 ranks in 2 "
               "pipeline stages of 1 chunk under ZeRO 3",
               text);
}

std::string forecast_line(const LayoutOfWorld& of, int64_t bytes) {
  return fmt::format(R"({{"world": {}, "pipeline": {}, "chunks": {}, "zero": {}, "bytes": {}}})",
                     of.world, of.layout.pipeline, of.layout.chunks, of.layout.zero, bytes);
}

Result<MemoryForecasts> parse_forecasts(std::string_view output) {
  MemoryForecasts forecasts;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    if (!line.starts_with("{\"world\"")) continue;
    LEASEHOLD_ASSIGN_OR_RETURN(const auto forecast, parse_line(line));
    forecasts.insert(forecast);
  }
  return forecasts;
}

}  // namespace leasehold
