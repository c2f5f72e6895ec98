#include <cmath>
#include <fmt/format.h>

#include "tests/runtime/tensor/operation_cases.h"

namespace leasehold {

namespace {

constexpr int64_t kCounts[] = {1, 7, 256, 1031, 33001};

OperationCase residual_add_case(int64_t count, bool has_x, float p, const std::string& alias) {
  OperationCase result;
  result.operation = "residual_add";
  result.label =
      fmt::format("{} elements{}, dropout {}, into {}", count, has_x ? ", x" : "", p, alias);
  const auto role = [&](const char* name) { return alias == name ? Role::kInPlace : Role::kInput; };
  result.operands = {{"delta", role("delta"), {1, count}}};
  if (has_x) result.operands.push_back({"x", role("x"), {1, count}});
  if (alias == "out") result.operands.push_back({"out", Role::kOutput, {1, count}});
  const Dropout dropout{p, RandomSite::make(7, "residual", 2, 1), 1'000'000'000'003};
  result.call = [dropout, alias](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.residual_add(stream, t["x"], t["delta"], dropout, t[alias]);
  };
  return result;
}

OperationCase add_case(int64_t count, Element element, const std::string& alias) {
  OperationCase result;
  result.operation = "add";
  result.label =
      fmt::format("{} elements of kind {}, into {}", count, static_cast<int>(element), alias);
  const auto role = [&](const char* name) { return alias == name ? Role::kInPlace : Role::kInput; };
  result.operands = {{"left", role("left"), {count}, element},
                     {"right", role("right"), {count}, element}};
  if (alias == "out") result.operands.push_back({"out", Role::kOutput, {count}, element});
  result.call = [alias](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.add(stream, t["left"], t["right"], t[alias]);
  };
  return result;
}

OperationCase sum_parts_case(int64_t num_parts, int64_t count) {
  OperationCase result;
  result.operation = "sum_parts";
  result.label = fmt::format("{} parts of {} elements", num_parts, count);
  result.operands = {{"parts", Role::kInput, {num_parts, 1, count}},
                     {"out", Role::kOutput, {1, count}}};
  result.call = [](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.sum_parts(stream, t["parts"], t["out"]);
  };
  return result;
}

OperationCase fill_case(int64_t count, Element element, float value) {
  OperationCase result;
  result.operation = "fill";
  result.label =
      fmt::format("{} elements of kind {} with {}", count, static_cast<int>(element), value);
  result.operands = {{"out", Role::kOutput, {count}, element}};
  result.call = [value](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.fill(stream, t["out"], value);
  };
  return result;
}

// Ties of bf16 and f32, values that only a double tells from a tie, the ends of the ranges,
// denormals, infinities, and a spread of ordinary numbers.
double cast_value(int64_t i) {
  const double special[] = {0.0,
                            -0.0,
                            1.0 + 0x1p-8,
                            1.0 + 3 * 0x1p-8,
                            1.0 + 0x1p-8 + 0x1p-40,
                            1.0 + 0x1p-8 - 0x1p-40,
                            -(1.0 + 3 * 0x1p-8 - 0x1p-50),
                            1.0 + 0x1p-24,
                            1.0 + 3 * 0x1p-24,
                            1.0 + 0x1p-24 + 0x1p-50,
                            0x1.fffffep127,
                            -0x1.fffffep127,
                            0x1.fep127,
                            0x1.ffp127,
                            0x1.fefp127,
                            1e300,
                            -1e300,
                            1e-300,
                            0x1p-140,
                            0x1.8p-134,
                            HUGE_VAL,
                            -HUGE_VAL,
                            65504.0,
                            3.14159265358979};
  constexpr int64_t kSpecial = sizeof special / sizeof special[0];
  if (i < kSpecial) return special[i];
  return std::ldexp(1.0 + static_cast<double>(i * 2654435761 % 1048573) / 1048573.0,
                    static_cast<int>(i % 60) - 30) *
         (i % 2 == 0 ? 1 : -1);
}

OperationCase cast_case(int64_t count, Element from, Element to) {
  OperationCase result;
  result.operation = "cast";
  result.label = fmt::format("{} elements, kind {} to {}", count, static_cast<int>(from),
                             static_cast<int>(to));
  // Through its own storage, a value is rounded on the way in where `from` is narrow.
  result.operands = {
      {"in", Role::kInput, {count}, from, cast_value},
      {.name = "out", .role = Role::kOutput, .shape = {count}, .element = to, .exact = true}};
  result.call = [](Kernels& kernels, Stream& stream, const Operands& t) {
    kernels.cast(stream, t["in"], t["out"]);
  };
  return result;
}

}  // namespace

std::vector<OperationCase> elementwise_cases() {
  std::vector<OperationCase> cases;
  for (const int64_t count : kCounts) {
    for (const int64_t num_parts : {1, 2, 3, 7}) cases.push_back(sum_parts_case(num_parts, count));
    for (const float p : {0.0F, 0.4F}) {
      for (const char* alias : {"out", "delta"}) {
        cases.push_back(residual_add_case(count, true, p, alias));
        cases.push_back(residual_add_case(count, false, p, alias));
      }
      cases.push_back(residual_add_case(count, true, p, "x"));
    }
    for (const char* alias : {"out", "left", "right"}) {
      cases.push_back(add_case(count, Element::kCompute, alias));
    }
    cases.push_back(fill_case(count, Element::kCompute, 0));
    cases.push_back(fill_case(count, Element::kCompute, -1.5F));
    for (const Element from : {Element::kF32, Element::kF64, Element::kBf16}) {
      for (const Element to : {Element::kF32, Element::kF64, Element::kBf16}) {
        cases.push_back(cast_case(count, from, to));
      }
    }
  }
  cases.push_back(add_case(1031, Element::kF64, "out"));
  cases.push_back(add_case(1031, Element::kState, "left"));
  cases.push_back(fill_case(1031, Element::kState, -0.75F));
  cases.push_back(fill_case(1031, Element::kF64, 2.25F));
  return cases;
}

}  // namespace leasehold
