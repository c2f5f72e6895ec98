// Lists the layouts in which a job could train.
#pragma once

#include <string>
#include <vector>

#include "launch/job_file.h"
#include "launch/leases/layout.h"

namespace leasehold {

// Returns the job's own layout, as its [parallel] says.
Layout own_layout(const ParallelSection& parallel);

// Returns the layouts in which `validate` lets the job run, in the order in which they are tried
// when memory is short: the job's own; its pipeline under the higher ZeRO stages up to 2; deeper
// pipelines under the same stages, shallow ones first; last ZeRO 3, which sends the weights for
// every microbatch, again with shallow ones first. The job must be completed. Pure.
std::vector<Layout> layout_candidates(const JobFile& job);

// Returns the `--set` arguments that make `layout` the job's own.
std::vector<std::string> layout_overrides(const Layout& layout);

}  // namespace leasehold
