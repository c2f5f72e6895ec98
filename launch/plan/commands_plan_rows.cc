// Part of commands_plan.h: tables of published steps.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>

#include "launch/plan/calibration.h"
#include "launch/plan/commands_plan_parts.h"
#include "launch/plan/published_rows.h"
#include "launch/plan/step_time.h"
#include "runtime/base/files.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxTableBytes = 64 << 20;

struct ModelledRow {
  const PublishedRow* row;
  std::string part;
  double seconds;
};

// The shipped part of a row, or the one of --hardware where it bears that name.
Result<Hardware> hardware_of_row(const PublishedRow& row, const std::optional<Hardware>& given) {
  if (given && (given->name == row.part ||
                std::find(given->also.begin(), given->also.end(), row.part) != given->also.end())) {
    return *given;
  }
  return shipped_hardware(row.part);
}

Result<ModelledRow> model_row(const PublishedRow& row, const std::optional<Hardware>& given) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Hardware hardware, hardware_of_row(row, given));
  const std::string missing = missing_figures(row.question, hardware);
  if (!missing.empty()) return Status(Code::kBadConfig, missing);
  return ModelledRow{&row, hardware.name, step_time(row.question, hardware).total_s()};
}

Result<PublishedRows> load_rows(const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text,
                             read_file(posix_files(), path, kMaxTableBytes));
  return parse_published_rows(text, path);
}

Result<Calibration> load_calibration(const std::string& path,
                                     const std::optional<Hardware>& given) {
  if (path.empty()) return Calibration({});
  LEASEHOLD_ASSIGN_OR_RETURN(const PublishedRows read, load_rows(path));
  if (!read.refused.empty()) return read.refused.front().status;
  std::vector<CalibrationRow> rows;
  for (const PublishedRow& row : read.rows) {
    const std::string where = fmt::format("{}:{}: {}", path, row.line, row.id);
    if (!row.step_s) {
      return error(Code::kBadData,
                   "{}: step_s and tok_s_gpu are both empty: to calibrate, a row "
                   "needs what was measured",
                   where);
    }
    const auto modelled = model_row(row, given);
    if (!modelled.ok()) return Status(Code::kBadData, modelled.status().annotated(where).message());
    rows.push_back({row.source, modelled->part, row.question.precision,
                    std::log(*row.step_s / modelled->seconds)});
  }
  if (rows.empty()) return error(Code::kBadData, "{}: holds no row", path);
  return Calibration(std::move(rows));
}

}  // namespace

Status plan_rows(const PlanCommand& command, const Logger& logger) {
  std::optional<Hardware> given;
  if (!command.hardware.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(given, plan_hardware(command.hardware));
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const PublishedRows read, load_rows(command.rows));
  LEASEHOLD_ASSIGN_OR_RETURN(const Calibration calibration,
                             load_calibration(command.calibrate, given));
  std::vector<std::string> refused;
  for (const RefusedRow& row : read.refused) refused.push_back(row.status.message());
  for (const PublishedRow& row : read.rows) {
    const std::string where = fmt::format("{}:{}: {}", command.rows, row.line, row.id);
    const auto modelled = model_row(row, given);
    if (!modelled.ok()) {
      refused.push_back(modelled.status().annotated(where).message());
      continue;
    }
    for (const std::string& notice : row.notices) logger.warning("{}: {}", where, notice);
    const Expectation step =
        calibration.expect(modelled->seconds, row.source, modelled->part, row.question.precision);
    fmt::print("{}\t{:.6g}\t{:.6g}\t{:.6g}\n", row.id, step.seconds, step.low_s, step.high_s);
  }
  std::fflush(stdout);
  for (const std::string& why : refused) logger.error("{}", why);
  if (refused.empty()) return ok_status();
  return error(Code::kBadData, "{}: {} of {} rows could not be predicted, see above", command.rows,
               refused.size(), read.rows.size() + read.refused.size());
}

}  // namespace leasehold
