#include "runtime/checkpoint/metrics_log.h"

#include <algorithm>
#include <utility>

#include "runtime/checkpoint/json_lines.h"

namespace leasehold {

namespace {

// Most bytes that are cut from the end of the log; before more, a person has to look at it.
constexpr int64_t kMaxTailBytes = int64_t{1} << 20;
constexpr int kFlushAttempts = 4;

}  // namespace

// Lines found behind the end that was known.
struct MetricsLog::Reading {
  int64_t good_bytes = 0;  // up to here the file consists of lines
  int64_t last_good_line = 0;
  std::string last_line;
  int64_t num_late = 0;
  Status order;
};

Result<int64_t> MetricsLog::size_bytes() const {
  const Result<std::unique_ptr<ReadableFile>> file = files_.open(path_);
  if (file.status().code() == Code::kMissingInput) return int64_t{0};
  if (!file.ok()) return file.status();
  return file.value()->size_bytes();
}

Status MetricsLog::read_lines(Reading& reading) {
  reading.good_bytes = end_bytes_;
  reading.last_good_line = num_lines_;
  const auto take = [&](std::string_view line, int64_t offset) {
    ++num_lines_;
    const std::optional<int64_t> step = find_integer(line, "step");
    if (!step || line.front() != '{' || line.back() != '}' || !reading.order.ok()) return;
    const int64_t before = entries_.empty() ? -1 : entries_.back().step;
    const int64_t generation = find_integer(line, "generation").value_or(0);
    const bool late = *step <= before && generation < newest_generation_;
    if (reading.last_good_line != num_lines_ - 1) {
      reading.order =
          error(Code::kBadData, "{}: line {} is damaged; restore the file, or move it away", path_,
                reading.last_good_line + 1);
    } else if (*step <= before && !late) {
      reading.order = error(
          Code::kBadData,
          "{}: line {} is of step {}, the one before it of step {}; restore the file, or move it "
          "away",
          path_, num_lines_, *step, before);
    }
    reading.last_good_line = num_lines_;
    reading.good_bytes = offset + std::ssize(line) + 1;
    if (late) {
      ++reading.num_late;
      return;
    }
    newest_generation_ = std::max(newest_generation_, generation);
    entries_.push_back({*step, offset, std::ssize(line)});
    reading.last_line = line;
  };
  LEASEHOLD_RETURN_IF_ERROR(for_each_line(files_, path_, take, end_bytes_).status());
  return reading.order;
}

Status MetricsLog::catch_up() {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t size, size_bytes());
  LEASEHOLD_RETURN_IF_ERROR(check_current_());
  if (size < end_bytes_) {
    repairs_.push_back(
        fmt::format("{}: has {} bytes where this generation left {}: it was cut or "
                    "replaced meanwhile, and is continued as it is",
                    path_, size, end_bytes_));
    entries_.clear();
    num_lines_ = end_bytes_ = durable_bytes_ = newest_generation_ = 0;
    name_is_durable_ = false;
  }
  begun_bytes_ = 0;
  Reading reading;
  const size_t num_entries = entries_.size();
  const int64_t num_lines = num_lines_;
  const Status read = read_lines(reading);
  if (!read.ok()) {
    entries_.resize(num_entries);
    num_lines_ = num_lines;
    const Result<int64_t> size_now = size_bytes();
    const bool shrank = size_now.ok() && *size_now < size;
    return shrank ? error(Code::kBadConfig, "{}: was cut while it was read", path_) : read;
  }
  // Only the last line can be half of one that looks whole.
  if (!reading.last_line.empty() && !is_json_object(reading.last_line)) {
    reading.good_bytes = entries_.back().offset;
    entries_.pop_back();
    --reading.last_good_line;
  }
  end_bytes_ = reading.good_bytes;
  num_lines_ = reading.last_good_line;
  if (reading.num_late > 0) {
    repairs_.push_back(
        fmt::format("{}: passed over {} lines that a generation wrote after a newer "
                    "one had taken over",
                    path_, reading.num_late));
  }
  while (!waiting_.empty() && !entries_.empty() && waiting_.front().step <= entries_.back().step) {
    waiting_bytes_ -= std::ssize(waiting_.front().text);
    waiting_.pop_front();
  }
  if (size <= end_bytes_) return ok_status();
  if (size - end_bytes_ > kMaxTailBytes) {
    return error(
        Code::kBadData,
        "{}: the last {} bytes are no JSON lines; move the file away, or cut it at byte {}", path_,
        size - end_bytes_, end_bytes_);
  }
  LEASEHOLD_RETURN_IF_ERROR(cut(size, end_bytes_));
  repairs_.push_back(fmt::format("{}: cut {} bytes of a line that was not written to its end",
                                 path_, size - end_bytes_));
  return ok_status();
}

// The size was seen before the look for newer generations.
Status MetricsLog::cut(int64_t size_bytes, int64_t to_bytes) {
  LEASEHOLD_ASSIGN_OR_RETURN(const auto log, files_.open_log(path_));
  return log->cut(size_bytes, to_bytes);
}

int64_t MetricsLog::last_step() const {
  if (!waiting_.empty()) return waiting_.back().step;
  return entries_.empty() ? -1 : entries_.back().step;
}

Result<std::string> MetricsLog::line(int64_t step) const {
  const auto waits = std::ranges::lower_bound(waiting_, step, {}, &Line::step);
  if (waits != waiting_.end() && waits->step == step)
    return waits->text.substr(0, waits->text.size() - 1);
  const auto found = std::ranges::lower_bound(entries_, step, {}, &Entry::step);
  if (found == entries_.end() || found->step != step)
    return error(Code::kMissingInput, "{}: no line of step {}", path_, step);
  std::string text(static_cast<size_t>(found->size_bytes), '\0');
  LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files_.open(path_));
  LEASEHOLD_RETURN_IF_ERROR(file->read_at(found->offset, text.data(), found->size_bytes));
  return text;
}

Status MetricsLog::add(int64_t step, const std::string& line) {
  if (is_full()) {
    const Status flushed = flush();
    if (!flushed.ok()) {
      return error(flushed.code(), "{} lines wait to be written, more than memory is kept for: {}",
                   waiting_.size(), flushed.message());
    }
  }
  waiting_.push_back({step, line + "\n"});
  waiting_bytes_ += std::ssize(waiting_.back().text);
  return flush();
}

Status MetricsLog::flush() {
  if (waiting_.empty()) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(check_current_());
  Status written;
  for (int attempt = 0; attempt < kFlushAttempts; ++attempt) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto log, files_.open_log(path_));
    written = ok_status();
    while (!waiting_.empty() && written.ok()) written = write_oldest(*log);
    if (written.code() != Code::kBadConfig) return written;
    // An older generation was about to append when this one claimed.
    const Status read = catch_up();
    if (read.code() != Code::kBadConfig) LEASEHOLD_RETURN_IF_ERROR(read);
  }
  return error(Code::kStorage, "another writer keeps changing it: {}", written.message());
}

Status MetricsLog::write_oldest(LogFile& log) {
  const Line& oldest = waiting_.front();
  Status written =
      log.append_at(end_bytes_ + begun_bytes_,
                    std::string_view(oldest.text).substr(static_cast<size_t>(begun_bytes_)));
  if (written.code() == Code::kStorage) {
    // The next try continues where this one ended.
    const Result<int64_t> size = size_bytes();
    const int64_t begun = size.ok() ? *size - end_bytes_ : begun_bytes_;
    if (begun >= begun_bytes_ && begun < std::ssize(oldest.text)) begun_bytes_ = begun;
  }
  LEASEHOLD_RETURN_IF_ERROR(written);
  entries_.push_back({oldest.step, end_bytes_, std::ssize(oldest.text) - 1});
  end_bytes_ += std::ssize(oldest.text);
  waiting_bytes_ -= std::ssize(oldest.text);
  ++num_lines_;
  begun_bytes_ = 0;
  keep_undurable(std::move(waiting_.front()));
  waiting_.pop_front();
  return ok_status();
}

void MetricsLog::keep_undurable(Line line) {
  undurable_bytes_ += std::ssize(line.text);
  undurable_.push_back(std::move(line));
  for (; undurable_bytes_ > kMaxCarriedBytes; undurable_.pop_front())
    undurable_bytes_ -= std::ssize(undurable_.front().text);
}

Status MetricsLog::sync() {
  LEASEHOLD_RETURN_IF_ERROR(flush());
  if (durable_bytes_ == end_bytes_) return ok_status();
  LEASEHOLD_ASSIGN_OR_RETURN(const auto log, files_.open_log(path_));
  LEASEHOLD_RETURN_IF_ERROR(log->sync());
  if (!name_is_durable_) LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(parent_path(path_)));
  name_is_durable_ = true;
  durable_bytes_ = end_bytes_;
  undurable_.clear();
  undurable_bytes_ = 0;
  return ok_status();
}

std::string MetricsLog::undurable_text() const {
  int64_t room = kMaxCarriedBytes;
  std::vector<const std::string*> newest_first;
  for (const std::deque<Line>* lines : {&waiting_, &undurable_}) {
    for (auto line = lines->rbegin(); line != lines->rend() && room > 0; ++line) {
      room -= std::ssize(line->text);
      if (room >= 0) newest_first.push_back(&line->text);
    }
  }
  std::string text;
  for (auto line = newest_first.rbegin(); line != newest_first.rend(); ++line) text += **line;
  return text;
}

Status MetricsLog::cut_after(int64_t step) {
  const auto first = std::ranges::upper_bound(entries_, step, {}, &Entry::step);
  if (first == entries_.end()) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(check_current_());
  LEASEHOLD_RETURN_IF_ERROR(cut(end_bytes_, first->offset));
  num_lines_ -= entries_.end() - first;
  end_bytes_ = first->offset;
  durable_bytes_ = std::min(durable_bytes_, end_bytes_);
  entries_.erase(first, entries_.end());
  return ok_status();
}

}  // namespace leasehold
