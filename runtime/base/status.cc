#include "runtime/base/status.h"

#include "runtime/base/check.h"

namespace leasehold {

const char* code_name(Code code) {
  switch (code) {
    case Code::kOk:
      return "ok";
    case Code::kUsage:
      return "usage";
    case Code::kBadData:
      return "bad data";
    case Code::kMissingInput:
      return "missing input";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kInternal:
      return "internal error";
    case Code::kStorage:
      return "storage";
    case Code::kDrained:
      return "drained";
    case Code::kBadConfig:
      return "bad configuration";
  }
  return "unknown code";
}

Status Status::annotated(const std::string& context) const {
  return ok() ? *this : Status(code_, context + ": " + message_);
}

void throw_if_error(const Status& status) {
  if (!status.ok()) throw DeviceError(status);
}

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  throw StatusError(
      error(Code::kInternal, "{}:{}: check failed: {} ({})", file, line, condition, message));
}

}  // namespace leasehold
