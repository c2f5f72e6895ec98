#include "runtime/checkpoint/run_directory.h"

#include <algorithm>
#include <charconv>
#include <climits>
#include <optional>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/checkpoint/checkpoint_directory.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/json_lines.h"

namespace leasehold {

namespace {

constexpr int kClaimAttempts = 16;
// What may be cut from the end of a log before a person has to look at it.
constexpr int64_t kMaxCutBytes = int64_t{1} << 20;

std::string generations_path(const std::string& run_dir) {
  return join_path(run_dir, "generations");
}

std::string claim_path(const std::string& run_dir, int64_t generation) {
  return join_path(join_path(generations_path(run_dir), std::to_string(generation)), "claim");
}

Status unusable(const std::string& run_dir, const Status& cause) {
  if (cause.code() != Code::kStorage) return cause;
  return error(Code::kStorage,
               "run.dir {} cannot be used: {}; it must be a directory that every node can write to",
               run_dir, cause.message());
}

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
  LEASEHOLD_RETURN_IF_ERROR(files.truncate(path, tail.good_bytes));
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
  const Result<std::vector<std::string>> names = files.list(generations_path(run_dir));
  if (names.status().code() == Code::kMissingInput) return int64_t{0};
  if (!names.ok()) return names.status();
  int64_t newest = 0;
  for (const std::string& name : names.value()) {
    int64_t generation = 0;
    const auto [end, failure] = std::from_chars(name.data(), name.data() + name.size(), generation);
    const bool whole = failure == std::errc() && end == name.data() + name.size();
    if (whole && generation > newest && files.exists(claim_path(run_dir, generation)))
      newest = generation;
  }
  return newest;
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
  LEASEHOLD_RETURN_IF_ERROR(run->index_metrics());
  LEASEHOLD_RETURN_IF_ERROR(run->repair_events());
  LEASEHOLD_RETURN_IF_ERROR(remove_leftovers(files, run_dir));
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

Status RunDirectory::index_metrics() {
  const std::string file = metrics_path();
  Tail tail;
  int64_t line_number = 0;
  int64_t last_good_line = 0;
  std::string last_line;
  Status order;
  const Result<int64_t> end =
      for_each_line(files_, file, [&](std::string_view line, int64_t offset) {
        ++line_number;
        const std::optional<int64_t> step = find_step(line);
        const bool good = step && line.front() == '{' && line.back() == '}';
        if (!good) return;
        if (order.ok() && last_good_line != line_number - 1) {
          order = error(Code::kBadData, "{}: line {} is damaged; restore the file, or move it away",
                        file, last_good_line + 1);
        } else if (order.ok() && *step <= last_metrics_step()) {
          order = error(
              Code::kBadData,
              "{}: line {} is of step {}, the one before it of step {}; restore the file, or move "
              "it away",
              file, line_number, *step, last_metrics_step());
        }
        last_good_line = line_number;
        metrics_.push_back({*step, offset});
        tail.good_bytes = offset + std::ssize(line) + 1;
        last_line = line;
      });
  if (!end.ok()) return end.status();
  LEASEHOLD_RETURN_IF_ERROR(order);
  // Only the last line can be half of one that looks whole.
  if (!metrics_.empty() && !is_json_object(last_line)) {
    tail.good_bytes = metrics_.back().offset;
    metrics_.pop_back();
  }
  LEASEHOLD_ASSIGN_OR_RETURN(tail.total_bytes, size_of_file(files_, file));
  metrics_bytes_ = tail.good_bytes;
  return cut_tail(files_, file, tail, repairs_);
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

Status RunDirectory::append_metrics(const std::string& line) {
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  Status appended = files_.append_line(metrics_path(), line + "\n");
  if (appended.ok()) {
    metrics_bytes_ += std::ssize(line) + 1;
    return appended;
  }
  // Half a line in the middle of the log would outlive this run.
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t now, size_of_file(files_, metrics_path()));
  if (now > metrics_bytes_)
    LEASEHOLD_RETURN_IF_ERROR(files_.truncate(metrics_path(), metrics_bytes_));
  return appended;
}

Result<std::string> RunDirectory::metrics_line(int64_t step) const {
  const auto found = std::ranges::lower_bound(metrics_, step, {}, &IndexEntry::step);
  if (found == metrics_.end() || found->step != step) {
    return error(Code::kMissingInput, "{}: no line of step {}", metrics_path(), step);
  }
  const auto next = found + 1;
  const int64_t end = next == metrics_.end() ? metrics_bytes_ : next->offset;
  std::string line(static_cast<size_t>(end - found->offset - 1), '\0');
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files_.open(metrics_path()));
  LEASEHOLD_RETURN_IF_ERROR(file->read_at(found->offset, line.data(), std::ssize(line)));
  return line;
}

Status RunDirectory::compare_replay(int64_t step, const std::string& line) {
  const Result<std::string> recorded = metrics_line(step);
  if (recorded.status().code() == Code::kMissingInput) return ok_status();
  if (!recorded.ok()) return recorded.status();
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
  const int64_t offset = metrics_bytes_;
  LEASEHOLD_RETURN_IF_ERROR(append_metrics(line));
  metrics_.push_back({step, offset});
  return ok_status();
}

Result<std::string> RunDirectory::lineage() const {
  const Result<std::string> text = read_file(files_, join_path(path_, "lineage"), kMaxCutBytes);
  if (text.status().code() == Code::kMissingInput) return std::string();
  if (!text.ok()) return text.status();
  return text->substr(0, text->find('\n'));
}

Status RunDirectory::set_lineage(const std::string& lineage) {
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  return publish_file(files_, join_path(path_, "lineage"), lineage + "\n",
                      fmt::format("g{:04}", generation_));
}

Status RunDirectory::fork_metrics(int64_t step, const std::string& parent_lineage) {
  const auto first = std::ranges::upper_bound(metrics_, step, {}, &IndexEntry::step);
  if (first == metrics_.end()) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string content,
                             read_file(files_, metrics_path(), INT64_MAX));
  LEASEHOLD_RETURN_IF_ERROR(
      publish_file(files_, join_path(path_, fmt::format("metrics-{}.jsonl", parent_lineage)),
                   content, fmt::format("g{:04}", generation_)));
  LEASEHOLD_RETURN_IF_ERROR(files_.truncate(metrics_path(), first->offset));
  metrics_bytes_ = first->offset;
  metrics_.erase(first, metrics_.end());
  return ok_status();
}

Status RunDirectory::append_event(const std::string& event, const std::string& reason,
                                  const std::vector<std::pair<std::string, std::string>>& details) {
  LEASEHOLD_RETURN_IF_ERROR(check_current());
  return files_.append_line(
      events_path(),
      event_line(format_utc(clock_.unix_s()), generation_, event, reason, details) + "\n");
}

}  // namespace leasehold
