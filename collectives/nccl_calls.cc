#include "collectives/nccl_calls.h"

#include <string_view>

#include "runtime/base/check.h"
#include "runtime/base/resource_exhausted.h"

namespace leasehold {

Status nccl_status(ncclResult_t result, const char* call) {
  Code code = Code::kInternal;
  switch (result) {
    case ncclSuccess:
    case ncclInProgress:
      return ok_status();
    case ncclUnhandledCudaError:
    case ncclSystemError:
    case ncclRemoteError:
      code = Code::kUnavailable;
      break;
    default:
      break;
  }
  const char* last = ncclGetLastError(nullptr);
  const bool told = last != nullptr && *last != '\0';
  const bool lacks_memory = result == ncclUnhandledCudaError && told &&
                            std::string_view(last).find("out of memory") != std::string_view::npos;
  if (lacks_memory) {
    return error(kResourceExhausted,
                 "{}: {}: NCCL takes memory of the device for each communicator, besides what the "
                 "forecast counts; use more ranks, a smaller batch.microbatch or fewer axes, or "
                 "less of NCCL_BUFFSIZE",
                 call, last);
  }
  return error(code, "{}: {}{}{}", call, ncclGetErrorString(result), told ? ": " : "",
               told ? last : "");
}

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kF64:
      return ncclFloat64;
    case DType::kBf16:
      return ncclBfloat16;
    case DType::kI32:
      return ncclInt32;
    case DType::kU8:
      return ncclUint8;
  }
  LEASEHOLD_CHECK(false, "no NCCL type of {}", dtype_name(dtype));
}

ncclRedOp_t nccl_operation(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return ncclSum;
    case ReduceOp::kMax:
      return ncclMax;
    case ReduceOp::kMin:
      return ncclMin;
  }
  LEASEHOLD_CHECK(false, "no NCCL operation {}", static_cast<int>(op));
}

ncclConfig_t communicator_config(const std::string& name, int max_ctas) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  config.commName = name.c_str();
  if (max_ctas > 0) config.maxCTAs = max_ctas;
  return config;
}

}  // namespace leasehold
