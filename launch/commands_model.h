// `leasehold import` and `leasehold export`: models of other programs.
#pragma once

#include "models/model_export.h"
#include "models/model_import.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"

namespace leasehold {

// SIGINT and SIGTERM stop either, leaving nothing half written. What was done goes to `logger`.
Status run_import(ImportOptions options, const Logger& logger);
Status run_export(ExportOptions options, const Logger& logger);

}  // namespace leasehold
