// metrics.jsonl as the generation that owns the run writes it: one JSON object a step, in ascending
// order of "step". Only lines are added; bytes that are no line (a writer died, the disk was full)
// are cut by the newest generation alone, and only while the file is as it was before that
// generation looked for a newer one. So whatever an older generation still does, at whatever
// operation it was frozen, no line of a newer one is lost. Lines that cannot be written wait in
// memory, oldest first.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "runtime/base/files.h"

namespace leasehold {

class MetricsLog {
 public:
  // Most that waits in memory: some 200,000 lines. A line beyond fails add().
  static constexpr int64_t kMaxWaitingBytes = int64_t{64} << 20;
  // Most that checkpoints and snapshots carry: some 300 lines.
  static constexpr int64_t kMaxCarriedBytes = int64_t{64} << 10;

  // `check_current`: kUnavailable when a newer generation has claimed, kStorage when that cannot be
  // seen. References must outlive the log.
  MetricsLog(FileSystem& files, std::string path, std::function<Status()> check_current)
      : files_(files), path_(std::move(path)), check_current_(std::move(check_current)) {}

  // Reads what it has not read yet, at first everything, and cuts what is no line at the end. What
  // it did goes to take_repairs(). kBadData, naming the line, when the file is damaged before its
  // end; kUnavailable, kStorage.
  Status catch_up();
  // One sentence each.
  std::vector<std::string> take_repairs() { return std::exchange(repairs_, {}); }

  // The step of the newest line, written or waiting; -1 when there is none.
  int64_t last_step() const;
  // The line of that step, without newline; kMissingInput when there is none.
  Result<std::string> line(int64_t step) const;

  // Adds the line of a step after last_step(), and writes what waits. kStorage: it waits, with the
  // reason, or (when is_full()) was not taken; kUnavailable: it was not written and never will be.
  Status add(int64_t step, const std::string& line);
  // Writes what waits.
  Status flush();
  // The same, and makes it durable; nothing when it is already.
  Status sync();
  int64_t num_waiting() const { return std::ssize(waiting_); }
  bool is_full() const { return waiting_bytes_ >= kMaxWaitingBytes; }
  // The newest lines that this generation added and that are not durable, written or waiting:
  // oldest first and each with its newline, in at most kMaxCarriedBytes.
  std::string undurable_text() const;
  // Counts the bytes of written lines alone, as far as they can be carried.
  int64_t undurable_bytes() const { return undurable_bytes_; }

  // Cuts the lines of later steps.
  Status cut_after(int64_t step);

 private:
  struct Entry {
    int64_t step;
    int64_t offset;
    int64_t size_bytes;  // without newline
  };
  struct Line {
    int64_t step;
    std::string text;  // with newline
  };
  struct Reading;

  Status read_lines(Reading& reading);
  Status cut(int64_t size_bytes, int64_t to_bytes);
  Status write_oldest(LogFile& log);
  void keep_undurable(Line line);
  Result<int64_t> size_bytes() const;

  FileSystem& files_;
  std::string path_;
  std::function<Status()> check_current_;
  std::vector<std::string> repairs_;
  std::vector<Entry> entries_;     // of the file
  int64_t newest_generation_ = 0;  // in the file's lines
  int64_t num_lines_ = 0;
  int64_t end_bytes_ = 0;       // the file consists of lines up to here
  std::deque<Line> undurable_;  // in the file, and not synced: the newest of this generation's
  int64_t undurable_bytes_ = 0;
  std::deque<Line> waiting_;
  int64_t waiting_bytes_ = 0;
  int64_t begun_bytes_ = 0;  // of the oldest waiting line, in the file already
  int64_t durable_bytes_ = 0;
  bool name_is_durable_ = false;
};

}  // namespace leasehold
