#include "tests/runtime/tensor/operation_case.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <limits>

#include "runtime/base/digest.h"

namespace leasehold {

namespace {

// What sums in f32 may be off by, as a share of the largest magnitude in an operand.
constexpr double kSumTolerance = 1e-5;
// The same, as a multiple of fp32's rounding of the magnitudes of an element's own terms.
constexpr double kTermRoundings = 16;
constexpr double kF32Rounding = 0x1p-24;
// Half the distance from one bf16 to the next, over the value.
constexpr double kBf16Rounding = 0x1p-8;
// Inner roundings, each of the magnitude of the operand, that do not cancel.
constexpr double kInnerRoundings = 4;
// The relative error that a large part may have as a whole, and the elements of such a part.
constexpr double kScale = 0.003;
constexpr size_t kLargePart = 256;

constexpr int64_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xA5;

DType dtype_of(Element element, const Kernels& kernels) {
  switch (element) {
    case Element::kCompute:
      return kernels.dtype();
    case Element::kState:
      return kernels.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
    case Element::kF32:
      return DType::kF32;
    case Element::kF64:
      return DType::kF64;
    case Element::kBf16:
      return DType::kBf16;
    case Element::kI32:
      return DType::kI32;
  }
  return DType::kF32;
}

double load(const unsigned char* bytes, DType dtype, int64_t i) {
  const auto read = [&](auto value) {
    std::memcpy(&value, bytes + i * static_cast<int64_t>(sizeof value), sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::kF64:
      return read(double{});
    case DType::kBf16:
      return std::bit_cast<float>(uint32_t{read(uint16_t{})} << 16);
    case DType::kI32:
      return read(int32_t{});
    default:
      return read(float{});
  }
}

uint16_t truncate_to_bf16(double value) {
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16);
}

void store(unsigned char* bytes, DType dtype, int64_t i, double value) {
  const auto write = [&](auto element) {
    std::memcpy(bytes + i * static_cast<int64_t>(sizeof element), &element, sizeof element);
  };
  switch (dtype) {
    case DType::kF64:
      return write(value);
    case DType::kBf16:
      return write(truncate_to_bf16(value));
    case DType::kI32:
      return write(static_cast<int32_t>(value));
    default:
      return write(static_cast<float>(value));
  }
}

double rounded(double value, DType dtype) {
  if (dtype == DType::kF64) return value;
  if (dtype == DType::kF32) return static_cast<float>(value);
  return std::bit_cast<float>(uint32_t{truncate_to_bf16(value)} << 16);
}

double input_value(const Operand& operand, const RandomSite& site, int64_t i, DType inputs) {
  const double value =
      operand.value ? operand.value(i) : 2.0 * site.uniform(static_cast<uint64_t>(i)) - 1.0;
  if (operand.element == Element::kCompute) return rounded(value, inputs);
  if (operand.element != Element::kState) return value;
  return rounded(value, inputs == DType::kF64 ? DType::kF64 : DType::kF32);
}

// A whole row of memory for each row: the elements and the gap after them.
Shape shape_in_memory(const Operand& operand) {
  if (operand.row_gap == 0) return operand.shape;
  return {operand.shape[0], operand.shape[1] + operand.row_gap};
}

// One operand on the host, with guards around it, and its place in device memory.
struct Placed {
  const Operand* operand = nullptr;
  DType dtype = DType::kU8;
  int64_t size_bytes = 0;
  int64_t offset = 0;  // of the operand's first element in device memory
};

int64_t place_all(const OperationCase& operation, const Kernels& kernels, const RunOptions& options,
                  std::vector<Placed>& placed) {
  int64_t end = 0;
  for (const Operand& operand : operation.operands) {
    Placed place{&operand};
    if (operand.role == Role::kWorkspace) {
      place.size_bytes = operand.workspace_bytes(kernels);
    } else {
      place.dtype = dtype_of(operand.element, kernels);
      place.size_bytes = operand.num_places() * size_of(place.dtype);
    }
    // As in an arena, then shifted; workspaces are never views of something, so they stay aligned.
    place.offset = (end + kGuardBytes + 255) / 256 * 256;
    if (operand.role != Role::kWorkspace) place.offset += options.misalignment_bytes;
    end = place.offset + place.size_bytes + kGuardBytes;
    placed.push_back(place);
  }
  return end;
}

void fill(const OperationCase& operation, const Placed& place, const RunOptions& options,
          unsigned char* bytes) {
  const Operand& operand = *place.operand;
  if (operand.role == Role::kWorkspace) {
    std::memset(bytes, 0xFF, static_cast<size_t>(place.size_bytes));  // NaNs
    return;
  }
  const double poison =
      options.poison == 0 ? std::numeric_limits<double>::quiet_NaN() : options.poison;
  const std::string site_name = operation.name() + "/" + operand.name;
  const RandomSite site = RandomSite::make(1, site_name);
  for (int64_t i = 0; i < operand.shape.num_elements(); ++i) {
    const bool is_output = operand.role == Role::kOutput;
    store(bytes, place.dtype, operand.place_of(i),
          is_output ? poison : input_value(operand, site, i, options.inputs));
  }
}

void expect_guards(const Placed& place, const std::vector<unsigned char>& memory) {
  for (const int64_t begin : {place.offset - kGuardBytes, place.offset + place.size_bytes}) {
    const auto* at = memory.data() + begin;
    EXPECT_TRUE(std::all_of(at, at + kGuardBytes, [](unsigned char c) { return c == kGuard; }))
        << place.operand->name << ": memory " << (begin < place.offset ? "before" : "behind")
        << " it was written";
  }
}

// Expects that the memory between rows did not change.
void expect_gaps(const Placed& place, const std::vector<unsigned char>& memory) {
  const Operand& operand = *place.operand;
  if (operand.row_gap == 0) return;
  const int64_t element_bytes = size_of(place.dtype), columns = operand.shape[1];
  for (int64_t row = 0; row < operand.shape[0]; ++row) {
    const auto* gap =
        memory.data() + place.offset + (operand.place_of(row * columns) + columns) * element_bytes;
    EXPECT_TRUE(std::all_of(gap, gap + operand.row_gap * element_bytes,
                            [](unsigned char c) { return c == kGuard; }))
        << operand.name << ": memory after row " << row << " was written";
  }
}

OperandResult result_of(const Placed& place, const std::vector<unsigned char>& memory,
                        DType inputs) {
  const auto* bytes = memory.data() + place.offset;
  OperandResult result{place.operand->name,
                       place.dtype,
                       place.operand->exact,
                       place.operand->inner_roundings && inputs == DType::kBf16,
                       place.operand->part,
                       {},
                       {}};
  const int64_t element_bytes = size_of(place.dtype);
  for (int64_t i = 0; i < place.operand->shape.num_elements(); ++i) {
    const int64_t at = place.operand->place_of(i);
    result.values.push_back(load(bytes, place.dtype, at));
    result.bytes.insert(result.bytes.end(), bytes + at * element_bytes,
                        bytes + (at + 1) * element_bytes);
  }
  return result;
}

// One operand's results and what is expected of them.
class Comparison {
 public:
  Comparison(const OperandResult& result, const Expected& expected, size_t operand)
      : result_(result), expected_(expected), operand_(operand) {}

  std::string disagreement() const {
    const std::vector<double>& values = reference().values;
    if (result_.values.size() != values.size()) return result_.name + ": another size";
    if (result_.exact)
      return result_.bytes == reference().bytes ? "" : result_.name + ": other bits";
    std::map<int, std::vector<size_t>> parts;
    for (size_t i = 0; i < values.size(); ++i)
      parts[result_.part ? result_.part(static_cast<int64_t>(i)) : 0].push_back(i);
    for (const auto& [part, elements] : parts) {
      const std::string wrong = disagreement_of(elements);
      if (!wrong.empty()) return fmt::format("{}, part {}: {}", result_.name, part, wrong);
    }
    return {};
  }

 private:
  const OperandResult& reference() const { return expected_.results[operand_]; }
  bool has_terms() const { return !expected_.terms.empty(); }
  double rounded_inside(size_t i) const {
    return expected_.rounded_inside.empty() ? 0 : expected_.rounded_inside[operand_].values[i];
  }

  double tolerance(size_t i, double magnitude) const {
    const double own = std::abs(reference().values[i]);
    double result = has_terms()
                        ? kTermRoundings * kF32Rounding * expected_.terms[operand_].values[i]
                        : kSumTolerance * magnitude;
    if (result_.dtype == DType::kBf16) result += kBf16Rounding * own;
    if (result_.inner_roundings) result += kInnerRoundings * kBf16Rounding * magnitude;
    return result + kBf16Rounding * rounded_inside(i);
  }

  std::string disagreement_of(const std::vector<size_t>& elements) const {
    const std::vector<double>& values = reference().values;
    double magnitude = 1e-6;
    for (const size_t i : elements)
      if (std::isfinite(values[i])) magnitude = std::max(magnitude, std::abs(values[i]));
    double differences = 0, squares = 0, along = 0;
    for (const size_t i : elements) {
      const double value = result_.values[i];
      squares += values[i] * values[i];
      if (value == values[i] || (std::isnan(value) && std::isnan(values[i]))) continue;
      const double difference = value - values[i];
      const double allowed = tolerance(i, magnitude);
      if (!(std::abs(difference) <= allowed) || std::isinf(difference)) {
        return fmt::format("[{}]: {} for {}, which may differ by {}", i, value, values[i], allowed);
      }
      differences += difference * difference;
      along += difference * values[i];
    }
    if (expected_.rounded_inside.empty() || elements.size() < kLargePart || squares == 0) return {};
    // Single roundings go to either side: of their sum little is left along the values.
    const double noise = std::sqrt(differences / squares / static_cast<double>(elements.size()));
    if (std::abs(along / squares) <= kScale + 4 * noise) return {};
    return fmt::format("all together are off by a factor of {}, which may differ from 1 by {}",
                       1 + along / squares, kScale + 4 * noise);
  }

  const OperandResult& result_;
  const Expected& expected_;
  size_t operand_;
};

}  // namespace

int64_t Operand::num_places() const { return shape_in_memory(*this).num_elements(); }

int64_t Operand::place_of(int64_t i) const { return row_gap == 0 ? i : i + i / shape[1] * row_gap; }

Tensor Operands::operator[](const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? Tensor() : found->second;
}

std::vector<OperandResult> run_case(const OperationCase& operation, Backend& backend,
                                    const RunOptions& options) {
  std::vector<Placed> placed;
  const int64_t size_bytes = place_all(operation, *backend.kernels, options, placed);
  auto device_memory =
      backend.device->allocate(size_bytes, MemoryKind::kDevice, operation.name()).value();
  auto* base = static_cast<unsigned char*>(device_memory->data());

  std::vector<unsigned char> before(static_cast<size_t>(size_bytes), kGuard);
  Operands operands;
  for (const Placed& place : placed) {
    fill(operation, place, options, before.data() + place.offset);
    const bool is_workspace = place.operand->role == Role::kWorkspace;
    const Tensor tensor(base + place.offset, is_workspace ? DType::kU8 : place.dtype,
                        is_workspace ? Shape{place.size_bytes} : shape_in_memory(*place.operand));
    operands.set(place.operand->name,
                 place.operand->row_gap == 0 ? tensor : tensor.columns(place.operand->shape[1]));
  }
  std::vector<unsigned char> after(before.size());
  if (backend.stream == nullptr)
    backend.stream = backend.device->create_stream("conformance").value();
  Stream* const stream = backend.stream.get();
  stream->copy(base, before.data(), size_bytes);
  operation.call(*backend.kernels, *stream, operands);
  stream->copy(after.data(), base, size_bytes);
  const Status status = stream->synchronize(Deadline::after_s(60));
  EXPECT_TRUE(status.ok()) << status.message();

  std::vector<OperandResult> results;
  for (const Placed& place : placed) {
    expect_guards(place, after);
    expect_gaps(place, after);
    if (place.operand->role == Role::kInput) {
      EXPECT_EQ(std::memcmp(before.data() + place.offset, after.data() + place.offset,
                            static_cast<size_t>(place.size_bytes)),
                0)
          << "input " << place.operand->name << " was changed";
    } else if (place.operand->role != Role::kWorkspace) {
      results.push_back(result_of(place, after, options.inputs));
    }
  }
  return results;
}

Expected run_reference(const OperationCase& operation, Backend& reference,
                       const RunOptions& options) {
  Expected expected;
  expected.results = run_case(operation, reference, options);
  OperationCase bounds = operation;
  if (operation.terms) {
    bounds.call = operation.terms;
    expected.terms = run_case(bounds, reference, options);
  }
  if (operation.rounded_inside && options.inputs == DType::kBf16) {
    bounds.call = operation.rounded_inside;
    expected.rounded_inside = run_case(bounds, reference, options);
  }
  return expected;
}

std::string disagreement(const std::vector<OperandResult>& results, const Expected& expected) {
  if (results.size() != expected.results.size()) return "other operands";
  for (size_t operand = 0; operand < results.size(); ++operand) {
    const Comparison comparison{results[operand], expected, operand};
    const std::string wrong = comparison.disagreement();
    if (!wrong.empty()) return wrong;
  }
  return {};
}

void expect_agreement(const std::vector<OperandResult>& results, const Expected& expected) {
  EXPECT_EQ(disagreement(results, expected), "");
}

void expect_equal_bits(const std::vector<OperandResult>& results,
                       const std::vector<OperandResult>& others) {
  ASSERT_EQ(results.size(), others.size());
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].bytes, others[i].bytes) << results[i].name;
  }
}

}  // namespace leasehold
