#include "runtime/base/log.h"

#include <memory>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace leasehold {

namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

Logger Logger::to_stderr(const std::string& prefix, LogLevel minimum) {
  auto logger =
      std::make_shared<spdlog::logger>(prefix, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(spdlog::level::debug);
  logger->set_pattern(prefix.empty() ? "%H:%M:%S.%e %l: %v" : "%H:%M:%S.%e [%n] %l: %v");
  return Logger([logger](LogLevel level,
                         const std::string& message) { logger->log(spdlog_level(level), message); },
                minimum);
}

Logger Logger::to_sink(Sink sink, LogLevel minimum) { return Logger(std::move(sink), minimum); }

Logger Logger::silent() { return Logger(nullptr, LogLevel::kError); }

void Logger::write(LogLevel level, const std::string& message) const {
  if (sink_ && level >= minimum_) sink_(level, message);
}

}  // namespace leasehold
