// The published rows that the planner's tests compare with.
#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "launch/plan/published_rows.h"

namespace leasehold {

inline std::string measured_rows_path() {
  return LEASEHOLD_SOURCE_DIR "/tests/launch/plan/published_rows.tsv";
}

// All rows; throws when one cannot be read.
inline std::vector<PublishedRow> measured_rows() {
  std::ostringstream text;
  text << std::ifstream(measured_rows_path()).rdbuf();
  PublishedRows read = parse_published_rows(text.str(), measured_rows_path()).value();
  for (const RefusedRow& refused : read.refused) throw StatusError(refused.status);
  return std::move(read.rows);
}

}  // namespace leasehold
