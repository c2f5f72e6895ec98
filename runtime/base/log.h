// Messages for people, on stderr: "12:00:00.123 [node 0] warning: ...". Libraries never write to
// stdout. Code that reports something is given a Logger; tests pass one that collects.
#pragma once

#include <fmt/format.h>
#include <functional>
#include <string>
#include <utility>

namespace leasehold {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class Logger {
 public:
  using Sink = std::function<void(LogLevel, const std::string&)>;

  // Writes to stderr, with one write per line. `prefix` names the sender ("rank 3").
  static Logger to_stderr(const std::string& prefix, LogLevel minimum = LogLevel::kInfo);
  static Logger to_sink(Sink sink, LogLevel minimum = LogLevel::kDebug);
  static Logger silent();

  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    write(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
  }

  void write(LogLevel level, const std::string& message) const;

 private:
  Logger(Sink sink, LogLevel minimum) : sink_(std::move(sink)), minimum_(minimum) {}

  Sink sink_;
  LogLevel minimum_;
};

}  // namespace leasehold
