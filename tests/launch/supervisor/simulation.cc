#include "tests/launch/supervisor/simulation.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace leasehold {

Simulation::Simulation(const std::string& calendar, const Job& job) : job_(job), clock_(*this) {
  files_.set_content(kCalendar, calendar);
}

void Simulation::SimulatedClock::sleep_s(double seconds) {
  ManualClock::sleep_s(seconds);
  world_.move();
}

std::unique_ptr<Supervisor> Simulation::open() {
  auto supervisor = try_open();
  if (supervisor.ok()) return std::move(supervisor).value();
  LEASEHOLD_CHECK(files_.is_down(), "open: {}", supervisor.status().message());
  return nullptr;
}

Result<std::unique_ptr<Supervisor>> Simulation::try_open() {
  SupervisorOptions options;
  options.run_dir = kRunDir;
  options.calendar_path = kCalendar;
  options.hosts_lock = hosts_lock_;
  options.plan = {{.min_world = 1, .lanes = job_.lanes, .layouts = job_.layouts}, 2};
  options.limits = {.start_timeout_s = 60,
                    .stuck_timeout_s = 30,
                    .margin_s = 2,
                    .heartbeat_timeout_s = 5,
                    .wait_for_state_s = job_.wait_for_state_s,
                    .hosts_are_local = false};
  options.look_s = 0.25;
  board_ = std::make_unique<ReportBoard>(clock_);
  asked_.clear();  // probes and forecasts end with the supervisor that began them
  questions_.clear();
  const auto make_command = [this](const RunningGeneration& generation) {
    next_number_ = generation.number;
    next_hosts_ = generation.hosts;
    layouts_.push_back(generation.layout);
    return GenerationCommand{};
  };
  const auto interrupts = [this] { return stop_at_s_ && now_s() >= *stop_at_s_ ? 1 : 0; };
  return Supervisor::open(options, {files_,
                                    clock_,
                                    *this,
                                    *this,
                                    *this,
                                    *board_,
                                    logger_,
                                    *launcher_,
                                    {},
                                    make_command,
                                    interrupts});
}

JobEnd Simulation::run(double limit_s, const std::function<bool()>& dies) {
  std::unique_ptr<Supervisor> supervisor;
  while (now_s() < limit_s) {
    if (!supervisor) supervisor = open();
    std::optional<JobEnd> end;
    if (supervisor) {
      if (stop_at_s_ && now_s() >= *stop_at_s_) board_->on_drain("an operator asked for it");
      end = supervisor->turn();
      state_ = supervisor->state();
    }
    if (files_.is_down() || dies()) {
      supervisor.reset();
      if (files_.is_down()) files_.restart(FaultyFiles::Loss::kNothing);
      continue;
    }
    if (end) return *end;
    clock_.sleep_s(0.25);
  }
  return {-1, "the simulation's patience is at its end"};
}

std::vector<std::string> Simulation::story() const {
  std::vector<std::string> story;
  for (const PastGeneration& past : state_.timeline) {
    story.push_back(fmt::format("{}: {} ranks, {}: {}", past.number, past.world,
                                past.planned ? "planned" : "failed", past.ended));
  }
  return story;
}

// --- The world ---

bool Simulation::is_cut_off(const std::string& host) {
  return std::ranges::any_of(cuts_, [&](const Cut& cut) {
    return cut.host == host && now_s() >= cut.from_s && now_s() < cut.until_s;
  });
}

// It does not thaw: what was cut off once has lost its connections.
bool Simulation::is_frozen(const Generation& generation) {
  return std::ranges::any_of(generation.hosts,
                             [&](const PlannedHost& host) { return is_cut_off(host.host); });
}

std::optional<int64_t> Simulation::first_rank(const Generation& generation,
                                              const std::string& host) {
  int64_t rank = 0;
  for (const PlannedHost& planned : generation.hosts) {
    if (planned.host == host) return rank;
    rank += planned.slots;
  }
  return std::nullopt;
}

void Simulation::finish(Generation& generation, int exit_code) {
  generation.outcome = Outcome{exit_code, {}, 0, clock_.unix_s()};
  if (exit_code != 75 && exit_code != 0) return;
  saved_step_ = generation.step;
  file_step_ = generation.step;
}

bool Simulation::ends_as_a_misfit(Generation& generation) {
  std::vector<int> ranks;
  const Misfit* misfit = nullptr;
  for (const auto& [host, what] : misfits_) {
    const auto rank = first_rank(generation, host);
    if (!rank || now_s() >= what.until_s) continue;
    if (misfit == nullptr) misfit = &what;
    if (what.exit_code != misfit->exit_code) continue;
    for (int64_t r = *rank; host_of_rank(generation.hosts, r) == host; ++r)
      ranks.push_back(static_cast<int>(r));
  }
  if (misfit == nullptr) return false;
  std::ranges::sort(ranks);
  generation.output = fmt::format("mpirun noticed that process rank {} with PID 0\n", ranks[0]);
  if (misfit->is_said) {
    generation.output += fmt::format("leasehold-train: rank {}: {}\n{}\n", ranks[0], misfit->words,
                                     last_words(misfit->exit_code, ranks));
  }
  finish(generation, misfit->exit_code);
  return true;
}

std::optional<int64_t> Simulation::step_in_memory(const Generation& generation) const {
  const HeldState held{.step = snapshot_.step, .parts = snapshot_.parts};
  if (snapshot_.step < 0 || !missing_holders(held, generation.hosts).empty()) return std::nullopt;
  return snapshot_.step;
}

void Simulation::make_step(Generation& generation) {
  if (std::exchange(generation.began, true) == false) {
    if (ends_as_a_misfit(generation)) return;
    if (in_memory_) {
      const auto in_memory = step_in_memory(generation);
      if (!in_memory && file_step_ >= 0 && now_s() >= damaged_at_s_) return finish(generation, 65);
      generation.step = std::max(in_memory.value_or(0), now_s() < damaged_at_s_ ? file_step_ : 0);
      generation.step = std::max<int64_t>(generation.step, 0);
    }
    begins_.push_back(generation.step);
    if (in_memory_) {  // the step begins now
      generation.next_step_s += job_.step_s;
      return;
    }
  }
  if (generation.step >= job_.steps) return finish(generation, 0);  // it was done before
  const int64_t step = generation.step + 1;
  for (const auto& [host, until_s] : spoiled_) {
    const auto rank = first_rank(generation, host);
    if (!rank || now_s() >= until_s) continue;
    generation.output = fmt::format("mpirun noticed that process rank {} with PID 0\n", *rank);
    return finish(generation, 139);
  }
  if (step == failing_step_.first) return finish(generation, failing_step_.second);
  generation.step = step;
  generation.next_step_s += job_.step_s;
  if (in_memory_) {
    snapshot_ = {step, parts_on(generation.hosts)};
    if (file_step_ < 0 && save_at_s_ > 0 && now_s() >= save_at_s_) file_step_ = step;
  }
  if (step <= newest_step_) {
    ++replayed_;
  } else {
    newest_step_ = step;
    saved_step_ = step;  // snapshots are kept on other hosts
    files_.set_content(kRunDir + "/metrics.jsonl",
                       fmt::format("{{\"step\": {}, \"step_time_s\": {}}}\n", step, job_.step_s));
  }
  if (step == job_.steps) finish(generation, 0);
}

void Simulation::report(Generation& generation) {
  if (!agents_are_heard_ || !board_) return;
  for (const PlannedHost& host : generation.hosts) {
    if (is_cut_off(host.host)) continue;
    Report report;
    report.generation = generation.number;
    report.node = host.host;
    report.number = ++num_reports_;
    report.step = generation.step;
    const bool is_checked = in_memory_ || !misfits_.empty();
    const bool began = generation.began || (!is_checked && true_unix_s() >= generation.next_step_s);
    report.phase = generation.saved_at_s ? "saving" : began ? "training" : "starting";
    report.step_time_s = generation.step > 0 ? job_.step_s : 0;
    if (in_memory_ && generation.began) {
      report.committed_step = snapshot_.step;
      report.durable_step = file_step_;
    }
    const Answer answer = board_->on_report(report);
    if (answer.drain && drains_are_heard_ && !generation.saved_at_s) {
      generation.saved_at_s = true_unix_s() + job_.save_s;
    }
  }
}

void Simulation::move_generation(Generation& generation) {
  if (generation.outcome || generation.vanished) return;
  if (keeper_lost_at_s_ && now_s() >= *keeper_lost_at_s_) {
    keeper_lost_at_s_.reset();
    generation.orphaned = true;
  }
  for (Crash& crash : crashes_) {
    const auto rank = first_rank(generation, crash.host);
    if (crash.happened || now_s() < crash.at_s || !rank) continue;
    crash.happened = true;
    generation.output = fmt::format("mpirun noticed that process rank {} with PID 0\n", *rank);
    return finish(generation, 137);
  }
  if (!is_frozen(generation)) {
    if (generation.saved_at_s) {
      if (true_unix_s() >= *generation.saved_at_s) return finish(generation, 75);
    } else {
      while (!generation.outcome && true_unix_s() >= generation.next_step_s + job_.step_s) {
        make_step(generation);
      }
    }
  }
  if (!generation.outcome) report(generation);
}

void Simulation::move() {
  for (ClockStep& step : clock_steps_) {
    if (step.happened || now_s() < step.at_s) continue;
    step.happened = true;
    clock_.step_wall_s(step.seconds);
  }
  for (Edit& edit : edits_) {
    if (edit.happened || now_s() < edit.at_s) continue;
    edit.happened = true;
    files_.set_content(kCalendar, edit.text);
  }
  int running = 0;
  for (auto& [directory, generation] : generations_) {
    move_generation(generation);
    running += !generation.outcome && !generation.vanished;
  }
  overlapped_ = overlapped_ || running > 1;
}

// --- GenerationHost ---

Simulation::Generation* Simulation::find(const std::string& directory) {
  const auto found = generations_.find(directory);
  return found == generations_.end() ? nullptr : &found->second;
}

// A supervisor that crashed does nothing more in its turn.
Status Simulation::start(const std::string& directory, const GenerationCommand&) {
  if (files_.is_down()) return error(Code::kStorage, "down");
  LEASEHOLD_CHECK(!generations_.contains(directory), "{} was started twice", directory);
  if (cancelled_.contains(directory)) return ok_status();  // its keeper finds its name taken
  Generation generation;
  generation.hosts = next_hosts_;
  generation.number = next_number_;
  generation.next_step_s = true_unix_s() + job_.start_s;
  generation.step = saved_step_;
  // mpirun cannot start what it cannot reach.
  for (const PlannedHost& host : generation.hosts) {
    if (is_cut_off(host.host)) generation.outcome = Outcome{1, {}, 0, clock_.unix_s()};
  }
  generations_[directory] = generation;
  return ok_status();
}

Status Simulation::adopt(const std::string& directory) {
  if (!files_.is_down() && !generations_.contains(directory)) cancelled_.insert(directory);
  return ok_status();
}

Result<GenerationLook> Simulation::look(const std::string& directory) {
  const Generation* generation = find(directory);
  if (generation == nullptr) return GenerationLook{};
  if (generation->orphaned) return GenerationLook{};
  const bool ended = generation->outcome || generation->vanished;
  return GenerationLook{!ended, generation->outcome};
}

void Simulation::drain(const std::string& directory) {
  Generation* generation = files_.is_down() ? nullptr : find(directory);
  if (generation == nullptr || generation->outcome || is_frozen(*generation)) return;
  if (!drains_are_heard_) return;
  if (!generation->saved_at_s) generation->saved_at_s = true_unix_s() + job_.save_s;
}

void Simulation::end(const std::string& directory) {
  Generation* generation = files_.is_down() ? nullptr : find(directory);
  if (generation != nullptr && !generation->outcome) finish(*generation, 1);
}

void Simulation::end_by_force(const std::string& directory) {
  Generation* generation = find(directory);
  if (generation != nullptr) generation->vanished = true;
}

std::string Simulation::output_tail(const std::string& directory) {
  const Generation* generation = find(directory);
  return generation == nullptr ? "" : generation->output;
}

std::vector<ProbeResult> Simulation::take_results() {
  std::vector<ProbeResult> results;
  for (const std::string& host : asked_) {
    const bool answered = !is_cut_off(host);
    results.push_back({host, answered, answered ? "" : "no route"});
  }
  asked_.clear();
  return results;
}

// --- Forecaster ---

void Simulation::ask(const std::vector<LayoutOfWorld>& questions) {
  LEASEHOLD_CHECK(questions_.empty(), "a forecast is under way");
  questions_ = questions;
  answered_at_s_ = now_s() + 1;
}

std::optional<Result<MemoryForecasts>> Simulation::take() {
  if (questions_.empty() || now_s() < answered_at_s_) return std::nullopt;
  const std::vector<LayoutOfWorld> questions = std::exchange(questions_, {});
  if (now_s() < no_forecasts_until_s_) return error(Code::kInternal, "no program");
  MemoryForecasts forecasts;
  for (const LayoutOfWorld& question : questions) {
    forecasts[question] = job_.memory(question);
    ++num_forecasts_;
  }
  return forecasts;
}

}  // namespace leasehold
