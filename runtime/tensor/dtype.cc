#include "runtime/tensor/dtype.h"

namespace leasehold {

int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF64:
      return 8;
    case DType::kBf16:
      return 2;
    case DType::kI32:
      return 4;
    case DType::kU8:
      return 1;
  }
  return 0;
}

const char* dtype_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF64:
      return "F64";
    case DType::kBf16:
      return "BF16";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
  }
  return "?";
}

Result<DType> parse_dtype(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBf16, DType::kI32, DType::kU8}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  return error(Code::kBadData, "dtype '{}' is not supported (F32, F64, BF16, I32 and U8 are)",
               name);
}

}  // namespace leasehold
