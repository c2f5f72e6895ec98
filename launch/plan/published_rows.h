// Tables of measured training steps, one a line: what `leasehold plan --rows` and `--calibrate`
// read. docs/planning.md lists the columns.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/plan/step_question.h"
#include "runtime/base/status.h"

namespace leasehold {

struct PublishedRow {
  int64_t line = 0;
  std::string id;
  std::string source;
  std::string part;  // as the table calls it
  int64_t num_slots = 1;
  StepQuestion question;
  std::optional<double> step_s;      // as measured
  std::vector<std::string> notices;  // cells that were not understood and count as empty

  double tokens() const {
    return static_cast<double>(question.microbatches * question.microbatch * question.data) *
           static_cast<double>(question.model.sequence);
  }
};

// A line that cannot be predicted, and why.
struct RefusedRow {
  std::string id;
  Status status;
};

struct PublishedRows {
  std::vector<PublishedRow> rows;
  std::vector<RefusedRow> refused;
};

// Reads tab-separated text whose first line names the columns. Pure (fuzzed). Other columns than
// those that are known mean nothing. kBadData, naming path and line, when a column that every row
// needs is missing, an id is empty or stands twice, or a line has too many cells. Rows with cells
// that are needed and empty, that are no number, or that do not fit together are refused one by
// one.
Result<PublishedRows> parse_published_rows(std::string_view text, const std::string& path);

// Returns what software of `date` ("2024-07", "v24.11.1", "2021", "2023-24") trains with. Fused
// attention came in 2023 (FlashAttention), 2024 (FlashAttention-2, arXiv:2307.08691) and in the
// middle of 2024 (cuDNN 9, FlashAttention-3); before 2023 exchanges did not overlap. Other text:
// the newest.
Software software_of(std::string_view date);

}  // namespace leasehold
