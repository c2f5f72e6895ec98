// In which layouts a job could train.
#pragma once

#include <string>
#include <vector>

#include "launch/job_file.h"
#include "launch/leases/layout.h"

namespace leasehold {

// The job's own layout, as its [parallel] says.
Layout own_layout(const ParallelSection& parallel);

// Those in which `validate` lets the job run, in the order in which they are tried when memory is
// short: the job's own; its pipeline under the further ZeRO stages up to 2; deeper pipelines under
// the same stages, shallow ones first; last ZeRO 3, which sends the weights for every microbatch,
// again shallow ones first. Pure. Wants a completed job.
std::vector<Layout> layout_candidates(const JobFile& job);

// The `--set` arguments that make it the job's layout.
std::vector<std::string> layout_overrides(const Layout& layout);

}  // namespace leasehold
