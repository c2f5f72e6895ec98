#include "launch/kernel_sets.h"

#include <algorithm>

#include "runtime/checkpoint/newest_record.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "runtime/comm/host_exchange.h"
#include "runtime/tensor/blas/blas.h"

namespace leasehold {

namespace {

// Returns the newest record that this rank can see: rank 0 reads run.dir, and the first rank of
// each node its node's memory. Other ranks see none.
RecordedKernelSet find_recorded(const JobFile& job, ProcessGroup& processes) {
  const bool has_memory = job.checkpoint.snapshot != "off" && processes.node_local_rank() == 0;
  if (processes.world().rank() != 0 && !has_memory) return {};
  const auto newest = find_newest_record(posix_files(), job.run.dir,
                                         has_memory ? kSharedMemory : "", processes.node());
  if (!newest) return {};
  return {newest->info.step, newest->info.cpu_kernels, newest->path};
}

}  // namespace

Result<ChosenKernelSet> open_kernel_set(const JobFile& job, bool may_change,
                                        ProcessGroup& processes, Stream& stream, double timeout_s) {
  if (job.device.kind != "cpu") return ChosenKernelSet{};
  Communicator& world = processes.world();
  const auto offered = blas::offered_kernel_sets();
  const Status sound =
      offered.status().ok() ? ok_status() : offered.status().annotated("node " + processes.node());
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, sound, after_group_timeout(timeout_s)));
  KernelSetOffer mine{.node = processes.node(),
                      .processor = offered->processor,
                      .sets = offered->sets,
                      .pinned = offered->pinned,
                      .asked = job.device.cpu_kernels,
                      .recorded = find_recorded(job, processes)};
  return agree_on_kernel_set(std::move(mine), may_change, blas::open_library, world, stream,
                             timeout_s);
}

Result<std::string> open_kernel_set_of(const CheckpointInfo& info) {
  LEASEHOLD_ASSIGN_OR_RETURN(blas::OfferedKernelSets offered, blas::offered_kernel_sets());
  std::vector<std::string>& sets = offered.sets;
  const auto recorded = std::ranges::find(sets, info.cpu_kernels);
  if (recorded != sets.end()) std::rotate(sets.begin(), recorded, recorded + 1);
  return blas::open_library_with_first(sets);
}

}  // namespace leasehold
