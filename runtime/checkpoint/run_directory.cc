#include "runtime/checkpoint/run_directory.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <functional>
#include <optional>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/checkpoint/checkpoint_directory.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/json_lines.h"

namespace leasehold {

namespace {

constexpr int kClaimAttempts = 16;
constexpr int kReadAttempts = 4;
constexpr size_t kMaxWaitingEvents = 4096;
// What may be cut from the end of a log before a person has to look at it.
constexpr int64_t kMaxCutBytes = int64_t{1} << 20;

std::string generations_path(const std::string& run_dir) {
  return join_path(run_dir, "generations");
}

constexpr const char* kLineageName = "lineage";

std::string generation_path(const std::string& run_dir, int64_t generation) {
  return join_path(generations_path(run_dir), std::to_string(generation));
}

std::string claim_path(const std::string& run_dir, int64_t generation) {
  return join_path(generation_path(run_dir, generation), "claim");
}

Result<std::vector<int64_t>> generations_newest_first(FileSystem& files,
                                                      const std::string& run_dir) {
  std::vector<int64_t> generations;
  const Result<std::vector<std::string>> names = files.list(generations_path(run_dir));
  if (names.status().code() == Code::kMissingInput) return generations;
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    int64_t generation = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), generation);
    if (failure == std::errc() && end == name.data() + name.size())
      generations.push_back(generation);
  }
  std::ranges::sort(generations, std::greater());
  return generations;
}

Status unusable(const std::string& run_dir, const Status& cause) {
  if (cause.code() != Code::kStorage) return cause;
  return error(Code::kStorage,
               "run.dir {} cannot be used: {}; it must be a directory that every node can write to",
               run_dir, cause.message());
}

// End of events.jsonl.
struct Tail {
  int64_t good_bytes = 0;  // up to here the log is whole
  int64_t total_bytes = 0;
};

// Cuts the log behind tail.good_bytes.
Status cut_tail(FileSystem& files, const std::string& path, const Tail& tail,
                std::vector<std::string>& repairs) {
  const int64_t surplus = tail.total_bytes - tail.good_bytes;
  if (surplus == 0) return ok_status();
  if (surplus > kMaxCutBytes) {
    return error(
        Code::kBadData,
        "{}: the last {} bytes are no JSON lines; move the file away, or cut it at byte {}", path,
        surplus, tail.good_bytes);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const auto log, files.open_log(path));
  const Status cut = log->cut(tail.total_bytes, tail.good_bytes);
  if (cut.code() == Code::kBadConfig) return ok_status();  // another writer appends just now
  LEASEHOLD_RETURN_IF_ERROR(cut);
  repairs.push_back(
      fmt::format("{}: cut {} bytes of a line that was not written to its end", path, surplus));
  return ok_status();
}

Result<int64_t> size_of_file(FileSystem& files, const std::string& path) {
  const Result<std::unique_ptr<ReadableFile>> file = files.open(path);
  if (file.status().code() == Code::kMissingInput) return int64_t{0};
  if (!file.ok()) return file.status();
  return file.value()->size_bytes();
}

}  // namespace

Result<int64_t> newest_claim(FileSystem& files, const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> generations,
                             generations_newest_first(files, run_dir));
  for (const int64_t generation : generations) {
    // Listed, not looked up: a client of NFS may remember for a minute that a name did not exist,
    // but asks the server when a directory is opened.
    const Result<std::vector<std::string>> content =
        files.list(generation_path(run_dir, generation));
    if (content.status().code() == Code::kMissingInput) continue;  // a file, or just removed
    if (!content.ok()) return content.status();
    if (std::ranges::binary_search(*content, "claim")) return generation;
  }
  return int64_t{0};
}

Result<std::string> read_lineage(FileSystem& files, const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> generations,
                             generations_newest_first(files, run_dir));
  std::vector<std::string> directories;
  for (const int64_t generation : generations)
    directories.push_back(generation_path(run_dir, generation));
  directories.push_back(run_dir);  // where older programs kept it
  for (const std::string& directory : directories) {
    const Result<std::string> text =
        read_file(files, join_path(directory, kLineageName), kMaxCutBytes);
    if (text.status().code() == Code::kMissingInput) continue;
    if (!text.ok()) return text.status();
    return text->substr(0, text->find('\n'));
  }
  return std::string();
}

std::string describe_owner(Clock& clock) {
  char host[HOST_NAME_MAX + 1] = {};
  if (::gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return fmt::format("host {}, pid {}, since {}", host[0] != '\0' ? host : "unknown", ::getpid(),
                     format_utc(clock.unix_s()));
}

Result<std::unique_ptr<RunDirectory>> RunDirectory::claim(FileSystem& files,
                                                          const std::string& run_dir,
                                                          const ClaimOptions& options,
                                                          Clock& clock) {
  const Status made = make_durable_directories(files, run_dir);
  if (!made.ok()) return unusable(run_dir, made);
  std::unique_ptr<RunDirectory> run(new RunDirectory(files, run_dir, clock));
  if (!options.generation) LEASEHOLD_RETURN_IF_ERROR(run->take_lock(options.owner));
  const Status claimed = options.generation ? run->claim_given_generation(options)
                                            : run->claim_generation(options.owner);
  if (!claimed.ok()) return unusable(run_dir, claimed);
  run->replays_repeat_bits_ = options.replays_repeat_bits;
  LEASEHOLD_RETURN_IF_ERROR(run->read_metrics());
  LEASEHOLD_RETURN_IF_ERROR(run->repair_events());
  // The writer of a leftover may be alive and still adding to it.
  const Status removed = remove_leftovers(files, run_dir, run->generation_);
  if (!removed.ok()) run->repairs_.push_back("a leftover stays: " + removed.message());
  return run;
}

Status RunDirectory::take_lock(const std::string& owner) {
  Result<std::unique_ptr<FileLock>> lock = files_.lock(join_path(path_, "lock"), owner);
  if (lock.status().code() == Code::kBadConfig) {
    return error(Code::kBadConfig,
                 "run.dir {} is in use: {}; wait for it to end, stop it, or choose another run.dir",
                 path_, lock.status().message());
  }
  if (!lock.ok()) return unusable(path_, lock.status());
  lock_ = std::move(lock).value();
  return ok_status();
}

Status RunDirectory::claim_given_generation(const ClaimOptions& options) {
  const int64_t generation = *options.generation;
  const auto superseded = [&](int64_t newest) {
    return error(Code::kUnavailable,
                 "generation {} has claimed {}: generation {} ends without publishing", newest,
                 path_, generation);
  };
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t newest, newest_claim(files_, path_));
  if (newest >= generation) return superseded(newest);
  const std::string claim = claim_path(path_, generation);
  LEASEHOLD_RETURN_IF_ERROR(make_durable_directories(files_, parent_path(claim)));
  // The supervisor has made it, and synced nothing above.
  LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(generations_path(path_)));
  Status created = files_.create_exclusive(claim, options.owner + "\n");
  if (created.code() == Code::kBadConfig) return superseded(generation);
  generation_ = generation;
  return created;
}

Status RunDirectory::claim_generation(const std::string& owner) {
  for (int attempt = 0; attempt < kClaimAttempts; ++attempt) {
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t newest, newest_claim(files_, path_));
    const std::string claim = claim_path(path_, newest + 1);
    LEASEHOLD_RETURN_IF_ERROR(files_.make_directories(parent_path(claim)));
    LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(path_));
    LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(generations_path(path_)));
    Status created = files_.create_exclusive(claim, owner + "\n");
    if (created.ok()) {
      generation_ = newest + 1;
      return ok_status();
    }
    if (created.code() != Code::kBadConfig) return created;
  }
  return error(Code::kBadConfig,
               "run.dir {}: others keep claiming generations; is its lock on a file system that "
               "does not share locks between nodes?",
               path_);
}

Status RunDirectory::read_metrics() {
  Status read;
  for (int attempt = 0; attempt < kReadAttempts; ++attempt) {
    read = metrics_.catch_up();
    if (read.code() != Code::kBadConfig) break;  // an older generation changed it just now
  }
  for (std::string& repair : metrics_.take_repairs()) repairs_.push_back(std::move(repair));
  return read.code() == Code::kBadConfig ? error(Code::kStorage, "{}", read.message()) : read;
}

Status RunDirectory::repair_events() {
  Tail tail;
  const Result<int64_t> end =
      for_each_line(files_, events_path(), [&](std::string_view line, int64_t offset) {
        if (!is_json_object(line)) return;
        tail.good_bytes = offset + std::ssize(line) + 1;
        failures_.add(line);
      });
  if (!end.ok()) return end.status();
  // A supervisor, which holds the lock, appends to this log itself and has repaired it.
  if (!lock_) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(tail.total_bytes, size_of_file(files_, events_path()));
  return cut_tail(files_, events_path(), tail, repairs_);
}

Status RunDirectory::check_current() const {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t newest, newest_claim(files_, path_));
  if (newest <= generation_) return ok_status();
  return error(Code::kUnavailable,
               "generation {} has claimed {}: generation {} writes nothing more", newest, path_,
               generation_);
}

Status RunDirectory::compare_replay(int64_t step, const std::string& line) {
  const Result<std::string> recorded = metrics_line(step);
  if (recorded.status().code() == Code::kMissingInput) return ok_status();
  if (!recorded.ok()) {
    notices_.push_back(
        {"replay_not_compared", fmt::format("step {}: {}", step, recorded.status().message())});
    return ok_status();
  }
  std::string differences;
  for (const char* name : {"loss", "grad_norm", "validation_loss"}) {
    const std::optional<std::string> before = member_text(recorded.value(), name);
    const std::optional<std::string> now = member_text(line, name);
    // Validation may have been asked for in only one of the two runs.
    if (std::string_view(name) == "validation_loss" && (!before || !now)) continue;
    if (before == now) continue;
    differences += fmt::format("{}{} was {} and is {} now", differences.empty() ? "" : ", ", name,
                               before.value_or("absent"), now.value_or("absent"));
  }
  if (differences.empty()) return ok_status();
  const std::string reason =
      fmt::format("step {} was replayed and came out otherwise: {} (recorded in {})", step,
                  differences, metrics_path());
  if (!replays_repeat_bits_) {
    if (!std::exchange(difference_told_, true)) {
      notices_.push_back({"replay_differs", reason + "; its bits are not promised by this job, and "
                                                     "later differences are not told"});
    }
    return ok_status();
  }
  LEASEHOLD_RETURN_IF_ERROR(
      append_event("replay_mismatch", reason, {{"step", std::to_string(step)}}));
  return error(
      Code::kBadData,
      "replay_mismatch: {}; the software or a machine does not compute what it computed before",
      reason);
}

Status RunDirectory::publish_metrics(int64_t step, const std::string& line) {
  const bool one_object =
      line.starts_with('{') && line.ends_with('}') && line.find('\n') == std::string::npos;
  LEASEHOLD_CHECK(one_object && find_step(line) == step, "the metrics line of step {}: {}", step,
                  line);
  if (step <= last_metrics_step()) return compare_replay(step, line);
  const Status added = metrics_.add(step, line);
  if (added.code() == Code::kUnavailable || last_metrics_step() != step) return added;
  note(added.ok() && !events_.empty() ? flush_events() : added);
  return ok_status();
}

Status RunDirectory::sync_metrics() {
  Status synced = metrics_.sync();
  if (synced.code() == Code::kUnavailable) return synced;
  note(synced);
  note_sync(synced);
  return synced;
}

std::string RunDirectory::carried_metrics(int64_t step, const std::string& own) const {
  const std::string lines = metrics_.undurable_text();
  const bool has_own = !lines.empty() && metrics_.last_step() >= step;
  return has_own ? lines.substr(0, lines.size() - 1) : lines + own;
}

// Says once that written lines cannot be made durable, and once that they are.
void RunDirectory::note_sync(const Status& synced) {
  const bool fails = !synced.ok();
  if (fails == sync_fails_ || metrics_.num_waiting() > 0) return;  // note() told why those wait
  sync_fails_ = fails;
  notices_.push_back(fails ? Notice{"log_not_durable",
                                    synced.message() +
                                        "; training goes on: checkpoints and snapshots carry the "
                                        "newest lines that a loss of power would take"}
                           : Notice{"log_durable", "what was written of the log is durable again"});
}

// Says once that lines wait, and once that they do not any more.
void RunDirectory::note(const Status& written) {
  for (const std::string& repair : metrics_.take_repairs())
    notices_.push_back({"repaired", repair});
  const bool wait = metrics_.num_waiting() > 0 || !events_.empty();
  if (wait == lines_wait_) return;
  lines_wait_ = wait;
  if (wait) {
    notices_.push_back({"log_waits", written.message() +
                                         "; training goes on: lines wait in memory and are written "
                                         "when that is possible again"});
    return;
  }
  notices_.push_back(
      {"log_written",
       num_events_lost_ == 0
           ? "all lines that waited are written"
           : fmt::format("all lines that waited are written, but for {} events that came when {} "
                         "waited",
                         num_events_lost_, kMaxWaitingEvents)});
  num_events_lost_ = 0;
}

Status RunDirectory::set_lineage(const std::string& lineage) {
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  // Under its own generation's name, so that an older one cannot bring back another lineage.
  return publish_file(files_, join_path(generation_path(path_, generation_), kLineageName),
                      lineage + "\n", fmt::format("g{:04}", generation_));
}

Status RunDirectory::fork_metrics(int64_t step, const std::string& parent_lineage) {
  if (last_metrics_step() <= step) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string content,
                             read_file(files_, metrics_path(), INT64_MAX));
  LEASEHOLD_RETURN_IF_ERROR(
      publish_file(files_, join_path(path_, fmt::format("metrics-{}.jsonl", parent_lineage)),
                   content, fmt::format("g{:04}", generation_)));
  return metrics_.cut_after(step);
}

Status RunDirectory::flush_events() {
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  while (!events_.empty()) {
    LEASEHOLD_RETURN_IF_ERROR(files_.append_line(events_path(), events_.front()));
    events_.pop_front();
  }
  return ok_status();
}

Status RunDirectory::append_event(const std::string& event, const std::string& reason,
                                  const std::vector<std::pair<std::string, std::string>>& details) {
  if (events_.size() < kMaxWaitingEvents) {
    events_.push_back(event_line(format_utc(clock_.unix_s()), generation_, event, reason, details) +
                      "\n");
  } else {
    ++num_events_lost_;
  }
  const Status written = flush_events();
  if (written.code() == Code::kUnavailable) {
    events_.clear();
    return written;
  }
  note(written);
  return ok_status();
}

}  // namespace leasehold
