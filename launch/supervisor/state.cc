#include "launch/supervisor/state.h"

#include "launch/supervisor/world_json.h"

namespace leasehold {

namespace {

using nlohmann::ordered_json;

constexpr int64_t kVersion = 1;
constexpr int kStateDepth = 5;  // state, running, ending, suspects, suspect
constexpr int64_t kMaxStateBytes = int64_t{64} << 20;
constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr double kLatest = 1e12;

constexpr std::pair<HostHealth::State, std::string_view> kHealthNames[] = {
    {HostHealth::State::kGood, "good"},
    {HostHealth::State::kUnreachable, "unreachable"},
    {HostHealth::State::kQuarantined, "quarantined"},
};

// --- Writing ---

ordered_json encode_optional(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json encode(const Ending& ending) {
  return {{"kill", ending.kill},           {"way", ending.way},
          {"reason", ending.reason},       {"asked_s", ending.asked_s},
          {"signalled", ending.signalled}, {"signals", ending.signals},
          {"suspects", ending.suspects}};
}

ordered_json encode(const Layout& layout) {
  return {{"pipeline", layout.pipeline}, {"chunks", layout.chunks}, {"zero", layout.zero}};
}

ordered_json encode(const RunningGeneration& running) {
  return {{"number", running.number},
          {"hosts", encode_hosts(running.hosts)},
          {"layout", encode(running.layout)},
          {"reason", running.reason},
          {"started_s", running.started_s},
          {"supervisor", running.supervisor},
          {"first_step", running.first_step},
          {"step", running.step},
          {"phase", running.phase},
          {"work", running.work},
          {"progress_s", running.progress_s},
          {"training", running.training},
          {"first_new_step_s", encode_optional(running.first_new_step_s)},
          {"ending", running.ending ? encode(*running.ending) : ordered_json(nullptr)}};
}

ordered_json encode(const PastGeneration& past) {
  return {{"number", past.number},
          {"world", past.world},
          {"began", past.began},
          {"ended", past.ended},
          {"started_s", past.started_s},
          {"ended_s", past.ended_s},
          {"last_step", past.last_step},
          {"planned", past.planned},
          {"lost_s", encode_optional(past.lost_s)}};
}

ordered_json encode(const HeldState& held) {
  ordered_json parts = ordered_json::array();
  for (const HeldPart& part : held.parts) parts.push_back({part.host, part.copy});
  return {{"generation", held.generation},
          {"step", held.step},
          {"parts", std::move(parts)},
          {"durable_step", held.durable_step},
          {"files_failed", held.files_failed}};
}

ordered_json encode(const std::string& host, const HostRecord& record) {
  std::string_view health;
  for (const auto& [state, name] : kHealthNames) {
    if (record.health.state == state) health = name;
  }
  return {{"host", host},
          {"health", health},
          {"until_s", record.health.until_s},
          {"reason", record.health.reason},
          {"crashes_s", record.crashes_s},
          {"quarantines", record.quarantines},
          {"failed_probes", record.failed_probes},
          {"next_probe_s", record.next_probe_s},
          {"fault", record.fault},
          {"fault_step", record.fault_step},
          {"faults", record.faults}};
}

ordered_json encode(const Failure& failure) {
  return {{"at_s", failure.at_s},       {"generation", failure.generation},
          {"way", failure.way},         {"step", failure.step},
          {"host", failure.host},       {"only_host", failure.only_host},
          {"excused", failure.excused}, {"exit_code", failure.exit_code},
          {"message", failure.message}};
}

// --- Reading ---

Status read(const JsonCursor& at, std::string_view name, int64_t& out) {
  LEASEHOLD_ASSIGN_OR_RETURN(out, at.field(name).integer(0, kMaxCount));
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, double& out) {
  LEASEHOLD_ASSIGN_OR_RETURN(out, at.field(name).number(-kLatest, kLatest));
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, bool& out) {
  LEASEHOLD_ASSIGN_OR_RETURN(out, at.field(name).boolean());
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, std::string& out) {
  LEASEHOLD_ASSIGN_OR_RETURN(out, at.field(name).string());
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, std::optional<double>& out) {
  if (at.field(name).is_null()) return ok_status();
  return read(at, name, out.emplace());
}
Status read(const JsonCursor& at, std::string_view name, std::vector<double>& out) {
  const JsonCursor list = at.field(name);
  LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
  for (size_t i = 0; i < list.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const double value, list.element(i).number(-kLatest, kLatest));
    out.push_back(value);
  }
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, std::vector<std::string>& out) {
  const JsonCursor list = at.field(name);
  LEASEHOLD_RETURN_IF_ERROR(list.expect_array());
  for (size_t i = 0; i < list.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(std::string value, list.element(i).string());
    out.push_back(std::move(value));
  }
  return ok_status();
}
Status read(const JsonCursor& at, std::string_view name, int& out) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t value, at.field(name).integer(0, 255));
  out = static_cast<int>(value);
  return ok_status();
}

// The named members, one after the other.
Status read_all(const JsonCursor&) { return ok_status(); }
template <typename T, typename... Rest>
Status read_all(const JsonCursor& at, std::string_view name, T& out, Rest&&... rest) {
  LEASEHOLD_RETURN_IF_ERROR(read(at, name, out));
  return read_all(at, std::forward<Rest>(rest)...);
}

Result<Ending> parse_ending(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(
      at.expect_fields({"kill", "way", "reason", "asked_s", "signalled", "suspects"}, {"signals"}));
  Ending ending;
  LEASEHOLD_RETURN_IF_ERROR(read_all(at, "kill", ending.kill, "way", ending.way, "reason",
                                     ending.reason, "asked_s", ending.asked_s, "signalled",
                                     ending.signalled, "suspects", ending.suspects));
  if (at.has("signals")) LEASEHOLD_RETURN_IF_ERROR(read(at, "signals", ending.signals));
  return ending;
}

Result<Layout> parse_layout(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"pipeline", "chunks", "zero"}));
  Layout layout;
  LEASEHOLD_RETURN_IF_ERROR(
      read_all(at, "pipeline", layout.pipeline, "chunks", layout.chunks, "zero", layout.zero));
  if (layout.pipeline < 1) return at.field("pipeline").bad("it needs one stage at least");
  if (layout.chunks < 1) return at.field("chunks").bad("it needs one chunk at least");
  return layout;
}

Result<RunningGeneration> parse_running(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields(
      {"number", "hosts", "layout", "reason", "started_s", "supervisor", "first_step", "step",
       "phase", "progress_s", "training", "first_new_step_s", "ending"},
      {"work"}));
  RunningGeneration running;
  LEASEHOLD_RETURN_IF_ERROR(read_all(
      at, "number", running.number, "reason", running.reason, "started_s", running.started_s,
      "supervisor", running.supervisor, "first_step", running.first_step, "step", running.step,
      "phase", running.phase, "progress_s", running.progress_s, "training", running.training,
      "first_new_step_s", running.first_new_step_s));
  if (at.has("work")) LEASEHOLD_RETURN_IF_ERROR(read(at, "work", running.work));
  LEASEHOLD_ASSIGN_OR_RETURN(running.hosts, parse_hosts(at.field("hosts")));
  LEASEHOLD_ASSIGN_OR_RETURN(running.layout, parse_layout(at.field("layout")));
  if (running.number < 1) return at.field("number").bad("generations count from 1");
  if (running.hosts.empty()) return at.field("hosts").bad("it needs one at least");
  if (!at.field("ending").is_null()) {
    LEASEHOLD_ASSIGN_OR_RETURN(running.ending, parse_ending(at.field("ending")));
  }
  return running;
}

Result<PastGeneration> parse_past(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"number", "world", "began", "ended", "started_s",
                                              "ended_s", "last_step", "planned", "lost_s"}));
  PastGeneration past;
  LEASEHOLD_RETURN_IF_ERROR(read_all(at, "number", past.number, "world", past.world, "began",
                                     past.began, "ended", past.ended, "started_s", past.started_s,
                                     "ended_s", past.ended_s, "last_step", past.last_step,
                                     "planned", past.planned, "lost_s", past.lost_s));
  return past;
}

Result<std::pair<std::string, HostRecord>> parse_record(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"host", "health", "until_s", "reason", "crashes_s",
                                              "quarantines", "failed_probes", "next_probe_s"},
                                             {"fault", "fault_step", "faults"}));
  std::string host, health;
  HostRecord record;
  LEASEHOLD_RETURN_IF_ERROR(read_all(
      at, "host", host, "health", health, "until_s", record.health.until_s, "reason",
      record.health.reason, "crashes_s", record.crashes_s, "quarantines", record.quarantines,
      "failed_probes", record.failed_probes, "next_probe_s", record.next_probe_s));
  if (at.has("fault")) LEASEHOLD_RETURN_IF_ERROR(read(at, "fault", record.fault));
  if (at.has("fault_step")) LEASEHOLD_RETURN_IF_ERROR(read(at, "fault_step", record.fault_step));
  if (at.has("faults")) LEASEHOLD_RETURN_IF_ERROR(read(at, "faults", record.faults));
  for (const auto& [state, name] : kHealthNames) {
    if (health != name) continue;
    record.health.state = state;
    return std::pair(std::move(host), std::move(record));
  }
  return at.field("health").bad(fmt::format("there is no '{}'", health));
}

Result<Failure> parse_failure(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"at_s", "generation", "way", "step", "host",
                                              "only_host", "excused", "exit_code", "message"}));
  Failure failure;
  LEASEHOLD_RETURN_IF_ERROR(read_all(at, "at_s", failure.at_s, "generation", failure.generation,
                                     "way", failure.way, "step", failure.step, "host", failure.host,
                                     "only_host", failure.only_host, "excused", failure.excused,
                                     "exit_code", failure.exit_code, "message", failure.message));
  return failure;
}

template <typename Parse, typename Keep>
Status read_list(const JsonCursor& at, const Parse& parse, const Keep& keep) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  for (size_t i = 0; i < at.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(auto item, parse(at.element(i)));
    keep(std::move(item));
  }
  return ok_status();
}

Status read_times(const JsonCursor& at, MeasuredTimes& times, int64_t& world) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"start_s", "step_s", "save_s"}, {"world"}));
  if (at.has("world")) LEASEHOLD_RETURN_IF_ERROR(read(at, "world", world));
  return read_all(at, "start_s", times.start_s, "step_s", times.step_s, "save_s", times.save_s);
}

Result<HeldPart> parse_part(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_array());
  if (at.size() != 2) return at.bad("it names a host and the host of the copy");
  HeldPart part;
  LEASEHOLD_ASSIGN_OR_RETURN(part.host, at.element(0).string());
  LEASEHOLD_ASSIGN_OR_RETURN(part.copy, at.element(1).string());
  return part;
}

Status read_held(const JsonCursor& at, HeldState& held) {
  LEASEHOLD_RETURN_IF_ERROR(
      at.expect_fields({"generation", "step", "parts", "durable_step", "files_failed"}));
  LEASEHOLD_ASSIGN_OR_RETURN(held.step, at.field("step").integer(-1, kMaxCount));
  LEASEHOLD_ASSIGN_OR_RETURN(held.durable_step, at.field("durable_step").integer(-1, kMaxCount));
  LEASEHOLD_RETURN_IF_ERROR(read_list(at.field("parts"), parse_part, [&](HeldPart part) {
    held.parts.push_back(std::move(part));
  }));
  return read_all(at, "generation", held.generation, "files_failed", held.files_failed);
}

Status read_end(const JsonCursor& at, std::optional<JobEnd>& end) {
  if (at.is_null()) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"exit_code", "reason"}));
  end.emplace();
  return read_all(at, "exit_code", end->exit_code, "reason", end->reason);
}

}  // namespace

int64_t RunningGeneration::world() const {
  int64_t ranks = 0;
  for (const PlannedHost& host : hosts) ranks += host.slots;
  return ranks;
}

std::map<std::string, HostHealth> SupervisorState::health() const {
  std::map<std::string, HostHealth> health;
  for (const auto& [host, record] : hosts) health[host] = record.health;
  return health;
}

std::string encode_state(const SupervisorState& state) {
  ordered_json hosts = ordered_json::array();
  for (const auto& [host, record] : state.hosts) hosts.push_back(encode(host, record));
  ordered_json failures = ordered_json::array();
  for (const Failure& failure : state.failures) failures.push_back(encode(failure));
  ordered_json timeline = ordered_json::array();
  for (const PastGeneration& past : state.timeline) timeline.push_back(encode(past));
  ordered_json end = nullptr;
  if (state.end) end = {{"exit_code", state.end->exit_code}, {"reason", state.end->reason}};
  const ordered_json object = {
      {"version", kVersion},
      {"first_launch_s", state.first_launch_s},
      {"newest_generation", state.newest_generation},
      {"newest_step", state.newest_step},
      {"last_end_s", encode_optional(state.last_end_s)},
      {"running", state.running ? encode(*state.running) : ordered_json(nullptr)},
      {"hosts", std::move(hosts)},
      {"held", encode(state.held)},
      {"failures", std::move(failures)},
      {"times",
       {{"start_s", encode_optional(state.times.start_s)},
        {"step_s", encode_optional(state.times.step_s)},
        {"save_s", encode_optional(state.times.save_s)},
        {"world", state.times_world}}},
      {"timeline", std::move(timeline)},
      {"end", std::move(end)}};
  return object.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<SupervisorState> parse_state(std::string_view text, const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto json, parse_strict_json(text, file, kStateDepth));
  const JsonCursor root(json, file);
  LEASEHOLD_RETURN_IF_ERROR(
      root.expect_fields({"version", "first_launch_s", "newest_generation", "newest_step",
                          "last_end_s", "running", "hosts", "failures", "times", "timeline", "end"},
                         {"held"}));
  LEASEHOLD_RETURN_IF_ERROR(root.field("version").integer(kVersion, kVersion).status());
  SupervisorState state;
  LEASEHOLD_RETURN_IF_ERROR(read_all(root, "first_launch_s", state.first_launch_s,
                                     "newest_generation", state.newest_generation, "newest_step",
                                     state.newest_step, "last_end_s", state.last_end_s));
  if (!root.field("running").is_null()) {
    LEASEHOLD_ASSIGN_OR_RETURN(state.running, parse_running(root.field("running")));
    if (state.running->number > state.newest_generation) {
      return root.field("running").bad("it is newer than newest_generation");
    }
  }
  LEASEHOLD_RETURN_IF_ERROR(read_list(root.field("hosts"), parse_record,
                                      [&](auto record) { state.hosts.insert(record); }));
  if (root.has("held")) LEASEHOLD_RETURN_IF_ERROR(read_held(root.field("held"), state.held));
  LEASEHOLD_RETURN_IF_ERROR(read_list(root.field("failures"), parse_failure, [&](Failure failure) {
    state.failures.push_back(std::move(failure));
  }));
  LEASEHOLD_RETURN_IF_ERROR(read_list(root.field("timeline"), parse_past, [&](PastGeneration past) {
    state.timeline.push_back(std::move(past));
  }));
  LEASEHOLD_RETURN_IF_ERROR(read_times(root.field("times"), state.times, state.times_world));
  LEASEHOLD_RETURN_IF_ERROR(read_end(root.field("end"), state.end));
  return state;
}

std::string state_path(const std::string& run_dir) {
  return join_path(join_path(run_dir, "supervisor"), "state.json");
}

Status save_state(FileSystem& files, const std::string& run_dir, const SupervisorState& state) {
  const std::string path = state_path(run_dir);
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(parent_path(path)));
  return publish_file(files, path, encode_state(state), "supervisor");
}

Result<SupervisorState> load_state(FileSystem& files, const std::string& run_dir) {
  const std::string path = state_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxStateBytes));
  auto state = parse_state(text, path);
  if (state.ok()) return state;
  return error(Code::kBadData,
               "{}; if no generation of this job runs any more, move the file away: the job goes "
               "on from its newest checkpoint",
               state.status().message());
}

}  // namespace leasehold
