#include "launch/supervisor/supervisor.h"

#include <algorithm>
#include <cmath>

#include "launch/supervisor/run_logs.h"
#include "launch/supervisor/state_report.h"
#include "launch/supervisor/world_file.h"
#include "runtime/checkpoint/run_directory.h"

namespace leasehold {

namespace {

constexpr double kShowEveryS = 1;

std::string hosts_in_words(const std::vector<PlannedHost>& hosts) {
  std::vector<std::string> words;
  for (const PlannedHost& host : hosts)
    words.push_back(fmt::format("{}:{}", host.host, host.slots));
  return fmt::format("{}", fmt::join(words, " "));
}

// The launcher's code is not believed where what was printed says otherwise: Hydra 4.0 forgets the
// codes of its ranks once it has passed a signal on.
void correct(Outcome& outcome, const FailureReport& said) {
  std::optional<int> code = said.exit_code;
  if (said.no_program) code = static_cast<int>(Code::kMissingInput);
  // Of ranks that end one after the other the launcher knows the first, which may only have lost
  // the one that failed.
  const bool lost_a_peer = said.own_code == static_cast<int>(Code::kUnavailable);
  if (!said.faulty_ranks.empty() && !lost_a_peer) code = said.own_code;
  if (!code && outcome.exit_code == 0) code = said.own_code;
  if (!code) return;
  outcome.exit_code = code;
  outcome.signal.reset();
}

}  // namespace

std::string Supervisor::directory() const {
  return generation_directory(options_.run_dir, state_.running->number);
}

// --- Observing ---

void Supervisor::tell_of_step(const Moment& moment) {
  if (moment.wall_step_s == 0) return;
  record({"clock_stepped",
          fmt::format("the wall clock was set {:.1f} s {}: durations do not follow it, leases {}",
                      std::abs(moment.wall_step_s), moment.wall_step_s > 0 ? "forward" : "back",
                      moment.wall_step_s > 0
                          ? "do"
                          : "do not either until `leasehold launch` is called again"),
          {{"seconds", fmt::format("{:.1f}", moment.wall_step_s)}}});
  replan_at_s_ = moment.now_s;
}

void Supervisor::replan(const Moment& moment) {
  for (const SupervisorEvent& event : calendar_.look()) record(event);
  const double at_s = moment.calendar_s;
  auto health = state_.health();
  for (auto& [host, known] : health) known.until_s += at_s - moment.now_s;
  wanted_ = plan(calendar_.calendar(), health, options_.plan, state_.times, at_s, forecasts_,
                 state_.running ? PreferredHosts() : holders(state_.held));
  planned_drain_.reset();
  lease_end_s_ = kNever;
  if (state_.running) {
    const std::vector<PlannedHost>& hosts = state_.running->hosts;
    planned_drain_ = reason_to_drain(hosts, state_.running->layout, wanted_, calendar_.calendar(),
                                     options_.plan, state_.times, at_s);
    lease_end_s_ = clock_.at_calendar(first_end_s(hosts, calendar_.calendar(), at_s));
  }
  replan_at_s_ = moment.now_s + options_.replan_s;
  ask_for_forecasts(moment.now_s);
}

void Supervisor::ask_for_forecasts(double now_s) {
  if (wanted_.unknown.empty() || parts_.forecaster.busy() || now_s < forecast_at_s_) return;
  parts_.forecaster.ask(wanted_.unknown);
}

void Supervisor::take_forecasts(double now_s) {
  auto made = parts_.forecaster.take();
  if (!made) return;
  if (made->ok()) {
    forecasts_.merge(**made);
    replan_at_s_ = now_s;
    return;
  }
  forecast_at_s_ = now_s + options_.forecast_again_s;
  record({"forecast_failed", made->status().message(), {}});
}

void Supervisor::look_at_generation(Observation& seen) {
  const auto look = parts_.generations.look(directory());
  if (!look.ok()) {
    // Storage that cannot be read tells nothing of mpirun.
    warn(look.status().message());
    seen.keeper_alive = true;
    return;
  }
  // Nobody will end what a keeper that vanished has left: the next generation needs its room.
  if (!look->keeper_alive && !look->outcome) parts_.generations.end_by_force(directory());
  seen.keeper_alive = look->keeper_alive;
  seen.outcome = look->outcome;
  if (seen.outcome) seen.outcome->end_s = clock_.at_wall(seen.outcome->end_s);
  seen.nodes = news();
  seen.listening_since_s = listening_since_s_;
  seen.logged = read_last_step(parts_.files, options_.run_dir);
  const bool ended = seen.outcome || !seen.keeper_alive;
  if (!ended) return;
  seen.said = parts_.launcher.read_failure(parts_.generations.output_tail(directory()),
                                           state_.running->hosts);
  if (seen.outcome) correct(*seen.outcome, seen.said);
}

// By node, with times on the state's clock.
std::map<std::string, NodeNews> Supervisor::news() const {
  auto nodes = parts_.board.nodes();
  for (auto& [name, node] : nodes) node.heard_s = clock_.at_steady(node.heard_s);
  return nodes;
}

Observation Supervisor::observe(const Moment& moment) {
  take_forecasts(moment.now_s);
  if (moment.now_s >= replan_at_s_) replan(moment);
  Observation seen;
  const double wait_s = options_.limits.wait_for_state_s;
  seen.leased = calendar_.leased(moment.calendar_s, moment.calendar_s);
  seen.leased_soon = calendar_.leased(moment.calendar_s, moment.calendar_s + wait_s);
  seen.probes = parts_.prober.take_results();
  seen.probing = parts_.prober.under_way();
  seen.stop_wish = stop_wish_ ? stop_wish_ : parts_.board.stop_wish();
  if (state_.running) look_at_generation(seen);
  return seen;
}

std::optional<JobEnd> Supervisor::turn() {
  const Moment moment = clock_.look();
  const double now_s = moment.now_s;
  tell_of_step(moment);
  Observation seen = observe(moment);
  const auto events = absorb(state_, seen, options_.limits, now_s);
  for (const SupervisorEvent& event : events) record(event);
  if (!events.empty()) {
    unsaved_ = true;
    replan(moment);
  }
  seen.wanted = wanted_;
  seen.planned_drain = planned_drain_;
  seen.lease_end_s = lease_end_s_;
  const bool saved = !unsaved_ || save();
  const Action action = next_action(state_, seen, options_.limits, now_s);
  // A generation begins only on what is on disk.
  if (!saved && action.kind == Action::Kind::kStart) return std::nullopt;
  const std::string did = doing_;
  auto end = perform(action, now_s);
  if (now_s >= show_at_s_ || end || did != doing_) show(now_s);
  return end;
}

JobEnd Supervisor::run() {
  for (;;) {
    const int interrupts = parts_.interrupts();
    if (interrupts > 0 && !stop_wish_) stop_wish_ = "an operator's signal asked for it";
    if (interrupts > 1) {
      if (!state_.running) {
        const Action finish = finish_as_asked(state_, *stop_wish_);
        return {finish.exit_code, finish.reason};
      }
      return {static_cast<int>(Code::kUnavailable),
              fmt::format("left alone: generation {} goes on without a supervisor; launch again to "
                          "take it up",
                          state_.running->number)};
    }
    if (const auto end = turn()) return *end;
    parts_.clock.sleep_s(options_.look_s);
  }
}

// --- Performing ---

std::optional<JobEnd> Supervisor::perform(const Action& action, double now_s) {
  const std::string doing = fmt::format("{}: {}", action_name(action.kind), action.reason);
  const bool is_new = doing != std::exchange(doing_, doing);
  switch (action.kind) {
    case Action::Kind::kWait:
      if (is_new && !state_.running) record({"waiting", action.reason, {}});
      break;
    case Action::Kind::kStart:
      start(action, now_s);
      break;
    case Action::Kind::kDrain:
    case Action::Kind::kKill:
      ask_to_end(action);
      break;
    case Action::Kind::kTakeBackDrain:
      record({"drain_taken_back", action.reason, {}});
      state_.running->ending.reset();
      unsaved_ = true;
      parts_.board.begin(state_.running->number, state_.running->hosts);
      break;
    case Action::Kind::kSignalDrain:
      state_.running->ending->signalled = true;
      ++state_.running->ending->signals;
      unsaved_ = true;
      parts_.generations.drain(directory());
      break;
    case Action::Kind::kKillByForce:
      if (is_new) record({"killed", action.reason, {}});
      parts_.generations.end_by_force(directory());
      break;
    case Action::Kind::kProbe:
      for (const std::string& host : action.hosts) parts_.prober.start(host);
      break;
    case Action::Kind::kFinish:
      record({action.exit_code == 0 ? "job_done" : "job_stopped",
              action.reason,
              {{"exit_code", std::to_string(action.exit_code)}}});
      return JobEnd{action.exit_code, action.reason};
  }
  return std::nullopt;
}

void Supervisor::ask_to_end(const Action& action) {
  state_.running->ending = action.ending;
  record({action.ending.kill ? "killing" : "draining", action.reason, {}});
  // The generation has to end even where that cannot be written down.
  unsaved_ = true;
  save();
  if (action.ending.kill) {
    parts_.generations.end(directory());
  } else {
    parts_.board.tell_to_drain(action.reason);
  }
}

void Supervisor::start(const Action& action, double now_s) {
  const auto claimed = newest_claim(parts_.files, options_.run_dir);
  if (!claimed.ok()) return warn(claimed.status().message());
  const SupervisorState before = state_;
  RunningGeneration running;
  running.number = std::max(state_.newest_generation, *claimed) + 1;
  running.hosts = wanted_.hosts;
  running.layout = wanted_.layout;
  running.reason = action.reason;
  running.started_s = now_s;
  running.supervisor = address_;
  running.first_step = state_.newest_step;
  running.progress_s = now_s;
  if (action.loss) state_.held.step = -1;
  state_.newest_generation = running.number;
  state_.running = running;
  if (!save()) {
    state_ = before;
    return;
  }
  if (action.loss) record(*action.loss);
  record({"generation_started",
          action.reason,
          {{"world", std::to_string(running.world())},
           {"hosts", hosts_in_words(running.hosts)},
           {"layout", in_words(running.layout)}}});
  parts_.board.begin(running.number, running.hosts);
  listening_since_s_ = now_s;
  const Status launched = launch(running);
  if (launched.ok()) return;
  // Seen from the next turn on it is a generation that ended.
  state_.running->ending = {.kill = true,
                            .way = "could not start",
                            .reason = launched.message(),
                            .asked_s = now_s,
                            .signalled = false,
                            .signals = 0,
                            .suspects = {}};
  unsaved_ = true;
  const Status none_comes = parts_.generations.adopt(directory());
  if (!none_comes.ok()) warn(none_comes.message());
}

Status Supervisor::launch(const RunningGeneration& running) {
  LEASEHOLD_RETURN_IF_ERROR(
      write_world(parts_.files, options_.run_dir, {running.number, running.hosts}));
  return parts_.generations.start(directory(), parts_.make_command(running));
}

// --- Telling ---

void Supervisor::record(const SupervisorEvent& event) {
  const int64_t generation = state_.newest_generation;
  parts_.logger.info("{}: {}", event.name, event.reason);
  const Status appended =
      append_supervisor_event(parts_.files, options_.run_dir, parts_.clock, generation, event);
  if (!appended.ok()) warn(appended.message());
}

bool Supervisor::save() {
  const Status saved = save_state(parts_.files, options_.run_dir, state_);
  unsaved_ = !saved.ok();
  if (!saved.ok()) warn(saved.message() + "; nothing new is begun until the state can be written");
  return saved.ok();
}

void Supervisor::warn(const std::string& message) {
  if (message == warning_) return;
  warning_ = message;
  parts_.logger.warning("{}", message);
}

void Supervisor::show(double now_s) {
  const auto nodes = news();
  const StateReport report{state_, nodes, doing_, now_s};
  parts_.board.show(state_json(report), prometheus_text(report));
  show_at_s_ = now_s + kShowEveryS;
  if (!state_.running || now_s < progress_at_s_) return;
  progress_at_s_ = now_s + options_.progress_s;
  parts_.logger.info(
      "generation {}, {} ranks{}: step {}", state_.running->number, state_.running->world(),
      state_.running->phase.empty() ? "" : ", " + state_.running->phase, state_.newest_step);
}

}  // namespace leasehold
