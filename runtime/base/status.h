// The way in which components report failure: a code, which is also the program's exit code, and a
// message that names the thing and the way out. Functions return Status or Result<T>. Inside a
// training step, where every call would otherwise need a branch, code may throw StatusError
// (DeviceError); only the trainer and main() catch it.
#pragma once

#include <exception>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <utility>

namespace leasehold {

// Values are the exit codes that scripts rely on (sysexits.h).
enum class Code : int {
  kOk = 0,
  kUsage = 64,         // bad command line
  kBadData = 65,       // bad data, or a corrupt checkpoint with no good copy
  kMissingInput = 66,  // an input file is missing
  kUnavailable = 69,   // a peer or node was lost; start again
  kInternal = 70,      // a bug in Leasehold
  kStorage = 74,       // storage failed: full, unwritable, torn
  kDrained = 75,       // stopped on request; start again to continue
  kBadConfig = 78,     // bad job file, or an impossible request
};

// Returns "bad data", "storage", ... for messages and events.
const char* code_name(Code code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  int exit_code() const { return static_cast<int>(code_); }
  const std::string& message() const { return message_; }
  // Returns the same code with `context: ` in front of the message.
  Status annotated(const std::string& context) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline Status ok_status() { return {}; }

template <typename... Args>
Status error(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Status(code, fmt::format(format, std::forward<Args>(args)...));
}

// Carries a Status through code that cannot return one.
class StatusError : public std::exception {
 public:
  explicit StatusError(Status status) : status_(std::move(status)) {}
  const Status& status() const { return status_; }
  const char* what() const noexcept override { return status_.message().c_str(); }

 private:
  Status status_;
};

// The failure of a device or of a collective inside a step.
class DeviceError : public StatusError {
 public:
  using StatusError::StatusError;
};

// Throws DeviceError unless ok. For use inside a step only.
void throw_if_error(const Status& status);

// A value, or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = Status(Code::kInternal, "a Result was made from an ok Status");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return checked(); }
  const T& value() const& { return const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(checked()); }
  T& operator*() & { return checked(); }
  const T& operator*() const& { return const_cast<Result*>(this)->checked(); }
  T&& operator*() && { return std::move(checked()); }
  T* operator->() { return &checked(); }
  const T* operator->() const { return &const_cast<Result*>(this)->checked(); }

 private:
  T& checked() {
    if (!value_) throw StatusError(status_);
    return *value_;
  }

  Status status_;
  std::optional<T> value_;
};

}  // namespace leasehold

#define LEASEHOLD_CONCAT_INNER(a, b) a##b
#define LEASEHOLD_CONCAT(a, b) LEASEHOLD_CONCAT_INNER(a, b)

// Returns the Status of `expression` from the enclosing function unless it is ok.
#define LEASEHOLD_RETURN_IF_ERROR(expression)            \
  do {                                                   \
    ::leasehold::Status leasehold_status = (expression); \
    if (!leasehold_status.ok()) return leasehold_status; \
  } while (false)

// LEASEHOLD_ASSIGN_OR_RETURN(auto x, make_x()): declares x, or returns the error.
#define LEASEHOLD_ASSIGN_OR_RETURN(declaration, expression)                                    \
  LEASEHOLD_ASSIGN_OR_RETURN_NAMED(LEASEHOLD_CONCAT(leasehold_result_, __LINE__), declaration, \
                                   expression)
#define LEASEHOLD_ASSIGN_OR_RETURN_NAMED(name, declaration, expression) \
  auto name = (expression);                                             \
  if (!name.ok()) return name.status();                                 \
  declaration = std::move(name).value()
