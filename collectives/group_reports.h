// Who lags: what the members of a group tell each other about where they are in its operations, and
// what is made of it when an operation misses its deadline. Groups of host memory carry these
// questions on a side channel; a group of devices that stands on one asks through it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collectives/operation.h"

namespace leasehold {

// Where a rank is in the operations of a group. Trivially copyable: it travels as bytes.
struct GroupReport {
  bool known = false;               // the rank has this group
  int64_t collectives_reached = 0;  // how many it has started
  OperationSummary newest_collective;
  bool any = false;  // it has started an operation of any kind, the newest one being:
  OperationSummary newest;
  bool newest_done = false;
  double age_s = 0;        // since it was done, or since it started
  char failure[256] = "";  // why it gave the group up, or ""
  void set_failure(const std::string& reason);
};

// What a member answered; not `answered` when it is frozen, lost or cut off.
struct ReportAnswer {
  bool answered = false;
  GroupReport report;
};

// The operation of which a rank asks why it does not complete.
struct LateOperation {
  OperationSummary summary;
  int64_t sequence = 0;  // among the group's collectives, or among the messages to one rank
};

// kUnavailable: "GROUP: OPERATION (operation N of rank R) did not complete in T s: rank P lags:
// ...". `answers` by rank of the group; describe_rank says a member's rank and place. Pure.
Status describe_late_operation(const std::string& group, int rank, const LateOperation& late,
                               double timeout_s, const std::vector<ReportAnswer>& answers,
                               const std::function<std::string(int)>& describe_rank);

class ReportSource {
 public:
  virtual ~ReportSource() = default;
  // From any thread; never blocks.
  virtual GroupReport report() = 0;
};

// Implemented by communicators of host memory beside Communicator.
class ReportingGroup {
 public:
  virtual ~ReportingGroup() = default;
  // What this rank answers from now on when members ask, instead of where it is in this group's own
  // operations. Null: the latter again; afterwards the source before is not asked any more.
  virtual void set_report_source(ReportSource* source) = 0;
  // Asks every member, by rank; waits for answers at most limit_s. Local; from any thread.
  virtual std::vector<ReportAnswer> ask_members(double limit_s) = 0;
  // "rank 1 (node beta on host 10.0.0.2)"
  virtual std::string describe_member(int rank) = 0;
};

}  // namespace leasehold
