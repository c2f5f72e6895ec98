// Implements `leasehold import` and `leasehold export`, for models of other programs.
#pragma once

#include "models/model_export.h"
#include "models/model_import.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace leasehold {

// Runs the command and logs a summary. SIGINT and SIGTERM stop it and leave nothing half written.
Status run_import(ImportOptions options, const Logger& logger);
Status run_export(ExportOptions options, const Logger& logger);

}  // namespace leasehold
