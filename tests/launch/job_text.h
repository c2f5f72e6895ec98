// Provides a small valid job for tests to spoil.
#pragma once

#include <string>
#include <vector>

#include "launch/job_file.h"

namespace leasehold {

inline constexpr const char* kGoodJob = R"(
[run]
dir = "out"
steps = 100

[model]
layers = 2
hidden = 48
heads = 4
sequence = 32
vocab = 256

[data]
train = "tokens/train.bin"

[batch]
sequences = 16
microbatch = 2

[optimizer]
lr = 1e-3
)";

// Returns the good job with overrides ("table.key=value"), completed. Throws if it cannot be
// parsed.
inline JobFile make_job(const std::vector<std::string>& overrides = {}) {
  JobFile job = parse_job(kGoodJob, "jobs/small.toml", overrides).value();
  throw_if_error(complete_job(job, 256));
  return job;
}

}  // namespace leasehold
