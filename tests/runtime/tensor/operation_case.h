// The conformance suite's machinery: an operation with named operands, run on any implementation of
// Kernels. Operands are made from their names, outputs are poisoned beforehand, memory around every
// operand is watched. What implementations must agree on is in one table of cases
// (operation_cases.h); how closely, in one place (expect_agreement).
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
  // Of a (N, V): elements between the end of a row and the next one, which must stay as they are.
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
  std::vector<unsigned char> bytes;
  std::vector<double> values;
};

// Runs the case and gives back outputs and in-place operands. Fails the test (ADD_FAILURE) when the
// stream failed, an input changed or memory outside an operand was written.
std::vector<OperandResult> run_case(const OperationCase& operation, Backend& backend,
                                    const RunOptions& options = {});

// Compares with the reference's results. An element may differ by a small share of the largest
// magnitude in the operand, and in bf16 by one rounding of its own besides; where values were
// rounded inside, by a few roundings of that magnitude.
void expect_agreement(const std::vector<OperandResult>& results,
                      const std::vector<OperandResult>& reference);
// Compares bytes.
void expect_equal_bits(const std::vector<OperandResult>& results,
                       const std::vector<OperandResult>& others);

}  // namespace leasehold
