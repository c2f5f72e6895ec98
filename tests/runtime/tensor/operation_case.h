// The conformance suite's machinery: an operation with named operands, run on any implementation of
// Kernels. Operands are made from their names, outputs are poisoned beforehand, memory around every
// operand is watched. What implementations must agree on is in one table of cases
// (operation_cases.h); how closely, in one place (expect_agreement).
//
// Bounds are an element's own where a case says of what it is a sum: the errors of a sum are a
// share of the sum of its terms' magnitudes, however the terms cancel. Else they are a share of the
// largest magnitude in the operand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/tensor/kernels.h"

namespace leasehold {

enum class Role {
  kInput,      // filled, and unchanged by the operation
  kOutput,     // poisoned beforehand
  kInPlace,    // filled, and compared afterwards
  kWorkspace,  // poisoned; of exactly the stated size
};

// What an operand is made of. kCompute and kState follow the implementation: its dtype(), and fp32
// (f64 if dtype() is) for statistics and optimizer state.
enum class Element { kCompute, kState, kF32, kF64, kBf16, kI32 };

struct Operand {
  std::string name;
  Role role = Role::kInput;
  Shape shape;
  Element element = Element::kCompute;
  // The value of element i of an input; uniform in [-1, 1), drawn for (case, operand), if null.
  // kCompute is rounded to RunOptions::inputs, kState too, but never to less than f32.
  std::function<double(int64_t i)> value;
  // kWorkspace: its size, asked of the implementation.
  std::function<int64_t(const Kernels&)> workspace_bytes;
  // Must equal the reference in every bit.
  bool exact = false;
  // In bf16 it hangs on values that the contract rounds inside the operation, or lets be rounded,
  // or on an output of an earlier call of the case.
  bool inner_roundings = false;
  // The kind of element i, 0 and up; each kind (dq, dk, dv of one tensor) is compared on its own.
  // Null: all are of one.
  std::function<int(int64_t i)> part;
  // For (N, V): elements between the end of a row and the next row, which must not change.
  int64_t row_gap = 0;

  // Elements of memory, and where element i lies among them.
  int64_t num_places() const;
  int64_t place_of(int64_t i) const;
};

// Tensors by operand name; absent for a name that has none.
class Operands {
 public:
  Tensor operator[](const std::string& name) const;
  void set(const std::string& name, const Tensor& tensor) { tensors_[name] = tensor; }

 private:
  std::map<std::string, Tensor> tensors_;
};

struct OperationCase {
  std::string operation;  // "linear_forward"
  std::string label;      // "N 7 K 5 O 3, gelu"
  std::vector<Operand> operands;
  std::function<void(Kernels&, Stream&, const Operands&)> call;
  // Null, or run in place of `call` by the reference, on the same inputs: the outputs become, of
  // each element, the sum of the magnitudes of its terms (of operands that are not kept in fp32 or
  // f64 by every implementation 0 says that it is exact but for one rounding of its own);
  std::function<void(Kernels&, Stream&, const Operands&)> terms;
  // and what the contract rounds inside, or lets be rounded, in bf16: the sum of the magnitudes, as
  // far as they reach the element.
  std::function<void(Kernels&, Stream&, const Operands&)> rounded_inside;
  std::string name() const { return operation + " (" + label + ")"; }
};

// An implementation with its device.
struct Backend {
  std::unique_ptr<Device> device;
  std::unique_ptr<Kernels> kernels;
  std::unique_ptr<Stream> stream = {};  // made by the first case
};

struct RunOptions {
  DType inputs = DType::kF32;      // what inputs are rounded to, whatever they are kept in
  double poison = 0;               // what outputs hold beforehand: NaN if 0
  int64_t misalignment_bytes = 0;  // added to every operand's address; a multiple of 8
};

struct OperandResult {
  std::string name;
  DType dtype = DType::kF32;
  bool exact = false;
  bool inner_roundings = false;
  std::function<int(int64_t i)> part = {};
  std::vector<unsigned char> bytes;
  std::vector<double> values;
};

// Runs the case and gives back outputs and in-place operands. Fails the test (ADD_FAILURE) when the
// stream failed, an input changed or memory outside an operand was written.
std::vector<OperandResult> run_case(const OperationCase& operation, Backend& backend,
                                    const RunOptions& options = {});

// The reference's results of a case, and its bounds if the case has them.
struct Expected {
  std::vector<OperandResult> results;
  std::vector<OperandResult> terms;           // empty: a share of the largest magnitude
  std::vector<OperandResult> rounded_inside;  // empty: nothing
};
Expected run_reference(const OperationCase& operation, Backend& reference,
                       const RunOptions& options);

// Compares results with what is expected of them. An element may differ by a small multiple of
// fp32's rounding of its terms, by one rounding of its own and, in bf16, by the roundings inside.
// Besides, where values are rounded inside, a large part may not be off by a factor: roundings go
// to either side. Returns what is wrong, naming operand, part and element; empty if nothing is.
std::string disagreement(const std::vector<OperandResult>& results, const Expected& expected);
void expect_agreement(const std::vector<OperandResult>& results, const Expected& expected);
// Compares bytes.
void expect_equal_bits(const std::vector<OperandResult>& results,
                       const std::vector<OperandResult>& others);

}  // namespace leasehold
