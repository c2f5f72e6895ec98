#include "runtime/comm/file_work.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <thread>
#include <utility>

#include "runtime/base/clock.h"
#include "runtime/comm/host_exchange.h"

namespace leasehold {

namespace {

constexpr double kFirstPauseS = 1e-3;
constexpr double kLongestPauseS = 1;
// The pause between two looks, as a share of the time so far: this is how long the last rank to end
// may keep the others waiting.
constexpr double kPauseShare = 1.0 / 16;
// Time that a stopped part has to finish its current operation.
constexpr double kStopGraceS = 1;

double pause_s(double elapsed_s, double timeout_s) {
  const double longest_s = std::min(kLongestPauseS, timeout_s / 4);
  return std::clamp(elapsed_s * kPauseShare, std::min(kFirstPauseS, longest_s), longest_s);
}

Status all_max(Communicator& group, Stream& stream, FileRound& round, Deadline deadline) {
  std::array<double, 3> values = {round.working, round.failed, round.stalled};
  LEASEHOLD_RETURN_IF_ERROR(all_reduce_f64(group, stream, values, ReduceOp::kMax, deadline));
  round = {.working = values[0], .failed = values[1], .stalled = values[2]};
  return ok_status();
}

// Returns, on every rank, the failure of rank `culprit`. Collective.
Status tell_failure(Communicator& group, Stream& stream, int culprit, const Status& mine,
                    const std::string& node, Deadline deadline) {
  const std::string text = fmt::format("{}\n{}\n{}", mine.exit_code(), node, mine.message());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string told,
                             broadcast_bytes(group, stream, text, culprit, deadline));
  if (culprit == group.rank()) return mine;
  const size_t code_end = told.find('\n');
  const size_t node_end = told.find('\n', code_end + 1);
  int code = static_cast<int>(Code::kInternal);
  if (node_end == std::string::npos ||
      std::from_chars(told.data(), told.data() + code_end, code).ec != std::errc()) {
    return error(Code::kInternal, "rank {} told no failure: {}", culprit, told);
  }
  const std::string where = told.substr(code_end + 1, node_end - code_end - 1);
  return error(static_cast<Code>(code), "rank {}{}: {}", culprit,
               where.empty() ? "" : " (" + where + ")", told.substr(node_end + 1));
}

}  // namespace

// Runs a part on a thread. The object is shared with the thread, so that either may go first.
class FileWork::Run {
 public:
  Run(const std::string& what, std::shared_ptr<std::atomic<int64_t>> counter)
      : what_(what), progress_(std::make_shared<FileProgress>(what, std::move(counter))) {}

  static std::shared_ptr<Run> start(FileSystem& files, const std::string& what, Part part,
                                    std::shared_ptr<std::atomic<int64_t>> counter) {
    auto run = std::make_shared<Run>(what, std::move(counter));
    run->thread_ = std::thread([run, &files, part = std::move(part)]() mutable {
      Status status;
      {
        const auto watched = watch_files(files, run->progress_);
        try {
          status = part(*watched);
        } catch (const StatusError& failure) {
          status = failure.status();
        }
        part = nullptr;  // destroys what the part owns before the work counts as done
      }
      std::lock_guard lock(run->mutex_);
      run->status_ = status;
      run->done_ = true;
      run->changed_.notify_all();
    });
    return run;
  }

  FileProgress& progress() { return *progress_; }
  const std::string& what() const { return what_; }

  bool wait(double seconds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, Deadline::after_s(seconds).time_point(),
                               [this] { return done_; });
  }
  bool done() const {
    std::lock_guard lock(mutex_);
    return done_;
  }
  Status status() const {
    std::lock_guard lock(mutex_);
    return status_;
  }
  // Returns at once: joins a thread that is done, and detaches one that is not. Again for a run that
  // was abandoned.
  void end() {
    if (!thread_.joinable()) return;
    done() ? thread_.join() : thread_.detach();
  }

 private:
  std::string what_;
  std::shared_ptr<FileProgress> progress_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  Status status_;
  std::thread thread_;
};

FileRoundVerdict judge(const FileRound& seen) {
  if (seen.working == 0) return FileRoundVerdict::kAllDone;
  return seen.stalled > 0 ? FileRoundVerdict::kGiveUp : FileRoundVerdict::kGoOn;
}

void StillWatch::look(int64_t num_moves, double now_s) {
  if (num_moves != num_moves_) {
    num_moves_ = num_moves;
    still_s_ = 0;
  } else {
    still_s_ += std::clamp(now_s - looked_s_, 0.0, kLongestLookS);
  }
  looked_s_ = now_s;
}

FileWork::FileWork(FileSystem& files, FileWorkLimits limits)
    : files_(files), limits_(std::move(limits)) {}

FileWork::~FileWork() { stop(error(Code::kUnavailable, "the rank leaves")); }

bool FileWork::idle() const {
  std::lock_guard lock(mutex_);
  return !run_ || run_->done();
}

void FileWork::stop(const Status& reason) {
  std::lock_guard lock(mutex_);
  if (stop_reason_.ok()) stop_reason_ = reason;
  if (run_) run_->progress().stop(reason);
}

int64_t FileWork::bytes_moved() const {
  std::lock_guard lock(mutex_);
  return bytes_before_ + (run_ ? run_->progress().bytes() : 0);
}

// Waits for a stopped part for as long as an operation that does not hang may take.
void FileWork::leave_run(const std::shared_ptr<Run>& run) {
  const bool done = run->wait(std::min(kStopGraceS, limits_.timeout_s / 4));
  run->end();
  if (!done) return;  // still run_
  std::lock_guard lock(mutex_);
  bytes_before_ += run->progress().bytes();
  run_.reset();
}

Status FileWork::on_rank_0(Communicator& group, Stream& stream, const std::string& what,
                           Part part) {
  return together(group, stream, what, group.rank() == 0 ? std::move(part) : Part());
}

Result<std::shared_ptr<FileWork::Run>> FileWork::begin(const std::string& what, Part part) {
  std::lock_guard lock(mutex_);
  LEASEHOLD_RETURN_IF_ERROR(stop_reason_);
  if (run_ && !run_->done()) {
    return error(Code::kStorage, "{}: {} still hangs: {}", what, run_->what(),
                 run_->progress().at());
  }
  if (run_) bytes_before_ += run_->progress().bytes();
  run_ = part ? Run::start(files_, what, std::move(part), limits_.counter) : nullptr;
  return run_;
}

Status FileWork::stop_reason() const {
  std::lock_guard lock(mutex_);
  return stop_reason_;
}

Status FileWork::together(Communicator& group, Stream& stream, const std::string& what, Part part) {
  const Result<std::shared_ptr<Run>> begun = begin(what, std::move(part));
  Member member{.run = begun.ok() ? *begun : nullptr, .status = begun.status(), .watch = {}};
  return meet(group, stream, what, std::move(member));
}

Status FileWork::await_left_behind(Communicator& group, Stream& stream, const std::string& what) {
  Member member{.run = nullptr, .is_left_behind = true, .status = {}, .watch = {}};
  {
    std::lock_guard lock(mutex_);
    member.run = run_;
  }
  return meet(group, stream, what, std::move(member));
}

bool FileWork::look(const std::string& what, double elapsed_s, Member& member,
                    bool& stalled) const {
  const std::shared_ptr<Run>& run = member.run;
  const bool is_left_behind = member.is_left_behind;
  const bool done = !run || run->wait(pause_s(elapsed_s, limits_.timeout_s));
  const Status stopped = stop_reason();
  if (run) member.watch.look(run->progress().num_moves(), system_clock().steady_s());
  const double still_s = member.watch.still_s();
  stalled = !done && still_s >= (stopped.ok() ? limits_.stall_s : kStopGraceS);
  Status& mine = member.status;
  if (run && done && !is_left_behind && mine.ok()) mine = run->status();
  if (mine.ok()) mine = stopped;
  if (!mine.ok() || !stalled) return done;
  if (is_left_behind) {
    mine = error(Code::kStorage, "{}: {}, which was given up before, hangs for {:.0f} s more: {}",
                 what, run->what(), still_s, run->progress().at());
  } else {
    mine = error(Code::kStorage,
                 "{}: {} has not got on for {:.0f} s, {} bytes were moved before; the storage "
                 "hangs, or checkpoint.stall_timeout_s is too short for it",
                 what, run->progress().at(), still_s, run->progress().bytes());
  }
  return done;
}

Status FileWork::meet(Communicator& group, Stream& stream, const std::string& what, Member member) {
  const std::shared_ptr<Run> run = member.run;
  Status lost;
  int culprit = -1;
  const double begin_s = system_clock().steady_s();
  for (FileRoundVerdict verdict = FileRoundVerdict::kGoOn; verdict == FileRoundVerdict::kGoOn;) {
    bool stalled = false;
    const bool done = look(what, system_clock().steady_s() - begin_s, member, stalled);
    const double me = group.size() - group.rank();
    FileRound round = {.working = done ? 0.0 : 1.0,
                       .failed = member.status.ok() || stalled ? 0.0 : me,
                       .stalled = stalled ? me : 0.0};
    lost = all_max(group, stream, round, deadline());
    if (!lost.ok()) break;
    if (culprit < 0 && round.failed > 0) culprit = group.size() - static_cast<int>(round.failed);
    verdict = judge(round);
    if (culprit < 0 && verdict == FileRoundVerdict::kGiveUp) {
      culprit = group.size() - static_cast<int>(round.stalled);
    }
    if (run && culprit >= 0) {
      run->progress().stop(error(Code::kUnavailable, "{}: rank {} failed", what, culprit));
    }
  }
  if (run) {
    if (!lost.ok()) run->progress().stop(lost);
    leave_run(run);
  }
  if (!lost.ok()) return member.status.ok() ? lost : member.status;
  if (culprit < 0) return ok_status();
  return tell_failure(group, stream, culprit, member.status, limits_.node, deadline());
}

}  // namespace leasehold
