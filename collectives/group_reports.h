// Finds out which rank lags. The members of a group tell each other where they are in its
// operations; when an operation misses its deadline, an error message is made of the answers.
// Groups of host memory carry the questions on a side channel. A group of devices asks through the
// host group that it is built on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collectives/operation.h"

namespace leasehold {

// The place of a rank in the operations of a group. Trivially copyable: it travels as bytes.
struct GroupReport {
  bool known = false;               // the rank has this group
  int64_t collectives_reached = 0;  // the number of collectives that it has started
  OperationSummary newest_collective;
  bool any = false;  // it has started an operation of any kind, the newest of which is:
  OperationSummary newest;
  bool newest_done = false;
  double age_s = 0;        // seconds since it was done, or since it started
  char failure[256] = "";  // the reason why it gave up the group, or ""
  void set_failure(const std::string& reason);
};

// The answer of a member. `answered` is false if it is frozen, lost or cut off.
struct ReportAnswer {
  bool answered = false;
  GroupReport report;
};

// An operation that does not complete in time.
struct LateOperation {
  OperationSummary summary;
  int64_t sequence = 0;  // among the group's collectives, or among the messages to one rank
};

// Returns kUnavailable: "GROUP: OPERATION (operation N of rank R) did not complete in T s: rank P
// lags: ...". `answers` are by rank of the group; describe_rank returns a member's rank and place.
// Pure.
Status describe_late_operation(const std::string& group, int rank, const LateOperation& late,
                               double timeout_s, const std::vector<ReportAnswer>& answers,
                               const std::function<std::string(int)>& describe_rank);

class ReportSource {
 public:
  virtual ~ReportSource() = default;
  // Returns this rank's report. Callable from any thread; never blocks.
  virtual GroupReport report() = 0;
};

// Implemented by communicators of host memory, in addition to Communicator.
class ReportingGroup {
 public:
  virtual ~ReportingGroup() = default;
  // Replaces this rank's own report: members are answered by `source` from now on. Null restores
  // the default. The previous source is not called after this returns.
  virtual void set_report_source(ReportSource* source) = 0;
  // Asks every member, and returns the answers by rank; waits for them at most limit_s. Local.
  // Callable from any thread.
  virtual std::vector<ReportAnswer> ask_members(double limit_s) = 0;
  // Returns "rank 1 (node beta on host 10.0.0.2)".
  virtual std::string describe_member(int rank) = 0;
};

}  // namespace leasehold
