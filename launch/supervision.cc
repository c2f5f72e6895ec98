#include "launch/supervision.h"

#include <charconv>
#include <cstdlib>
#include <map>
#include <unistd.h>

#include "launch/supervisor/control_file.h"
#include "launch/supervisor/failure_domains.h"
#include "launch/supervisor/world_file.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Report make_report(const RunProgress& progress, const Supervision& supervision,
                   const std::string& node, int rank) {
  return {.generation = *supervision.generation,
          .node = node,
          .rank = rank,
          .pid = ::getpid(),
          .step = progress.step,
          .phase = phase_name(progress.phase),
          .committed_step = progress.committed_step,
          .durable_step = progress.durable_step,
          .step_time_s = progress.step_time_s,
          .save_time_s = progress.save_time_s,
          .communication_s = progress.communication_s,
          .exposed_s = progress.exposed_s,
          .work_done = *progress.num_file_moves};
}

}  // namespace

Result<Supervision> read_supervision() {
  Supervision supervision;
  const std::string generation = environment("LEASEHOLD_GENERATION");
  if (generation.empty()) return supervision;
  int64_t number = 0;
  const char* end = generation.data() + generation.size();
  const auto parsed = std::from_chars(generation.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end || number < 1) {
    return error(
        Code::kUsage,
        "LEASEHOLD_GENERATION=\"{}\" is not a generation; unset it, or let `leasehold launch` "
        "set it",
        generation);
  }
  supervision.generation = number;
  supervision.supervisor = environment("LEASEHOLD_SUPERVISOR");
  return supervision;
}

Result<std::vector<FailureDomain>> read_failure_domains(FileSystem& files,
                                                        const std::string& run_dir,
                                                        const Supervision& supervision,
                                                        ProcessGroup& processes, Stream& stream,
                                                        Deadline deadline) {
  Communicator& world = processes.world();
  std::string text;
  Status readable;
  if (supervision.generation && world.rank() == 0) {
    const auto read = read_world(files, run_dir, *supervision.generation);
    if (read.ok()) {
      text = encode_world(*read);
    } else if (read.status().code() != Code::kMissingInput) {
      readable = read.status();
    }
  }
  LEASEHOLD_RETURN_IF_ERROR(agree(world, stream, readable, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(text, broadcast_bytes(world, stream, text, 0, deadline));
  std::map<std::string, FailureDomain> known;
  if (!text.empty()) {
    LEASEHOLD_ASSIGN_OR_RETURN(const WorldFile file, parse_world(text, "world.json of rank 0"));
    for (const PlannedHost& host : file.hosts) {
      known[host.host] = failure_domain(host);
    }
  }
  std::vector<FailureDomain> domains;
  for (const std::string& node : processes.nodes()) {
    const auto found = known.find(node);
    domains.push_back(found != known.end() ? found->second : FailureDomain{.node = node});
  }
  return domains;
}

Result<std::unique_ptr<NodeAgent>> start_node_agent(FileSystem& files, const std::string& run_dir,
                                                    const Supervision& supervision,
                                                    ProcessGroup& processes,
                                                    const RunProgress& progress,
                                                    DrainRequest& drain) {
  const bool reports =
      supervision.generation && !supervision.supervisor.empty() && processes.node_local_rank() == 0;
  if (!reports) return std::unique_ptr<NodeAgent>();
  NodeAgentOptions options{.supervisor = supervision.supervisor};
  LEASEHOLD_ASSIGN_OR_RETURN(options.key, read_agent_key(files, run_dir));
  options.find = [&files, run_dir] {
    const auto found = read_supervisor_address(files, run_dir);
    return found.ok() ? *found : "";
  };
  Communicator& world = processes.world();
  const std::string node = processes.node();
  NodeAgentEvents events;
  events.report = [&progress, supervision, node, rank = world.rank()] {
    return make_report(progress, supervision, node, rank);
  };
  events.drain = [&drain](const std::string&) { drain.request(); };
  events.fenced = [&world, generation = *supervision.generation](const std::string& reason) {
    world.abort(
        error(Code::kUnavailable, "generation {} is not the current one: {}", generation, reason));
  };
  return NodeAgent::start(std::move(options), std::move(events));
}

}  // namespace leasehold
