// Who lags: a side channel beside the data on which every rank answers what it is doing, also while
// its own thread is stuck in a computation; only a process that is frozen, dead or cut off does not
// answer. It also carries the news that a rank gave a group up. Used under the engine's progress
// mutex.
#pragma once

#include <cstdint>
#include <list>
#include <mpi.h>
#include <string>
#include <vector>

#include "collectives/operation.h"
#include "runtime/base/clock.h"

namespace leasehold {

// Where a rank is in the operations of a group.
struct GroupReport {
  bool known = false;               // the rank has this group
  int64_t collectives_reached = 0;  // how many it has started
  OperationSummary newest_collective;
  bool any = false;  // it has started an operation of any kind, the newest one being:
  OperationSummary newest;
  bool newest_done = false;
  double age_s = 0;        // since it was done, or since it started
  char failure[256] = "";  // why it gave the group up, or ""
};

class MpiLagListener {
 public:
  virtual ~MpiLagListener() = default;
  virtual GroupReport report(int channel) = 0;
  virtual void peer_gave_up(int channel, int world_rank, const std::string& reason) = 0;
};

class MpiLag {
 public:
  // `comm` is this object's own, with MPI_ERRORS_RETURN; not freed here.
  MpiLag(MPI_Comm comm, MpiLagListener& listener);

  // Before anything else.
  Status start();
  // Ends listening.
  void stop();
  // Answers what was asked and takes in what was answered. Cheap when nothing arrived.
  Status poll();

  // Asks the members of a group where they are in it.
  Status ask(int channel, const std::vector<int>& world_ranks, int own_world_rank);
  bool all_answered() const { return missing_ == 0; }
  // What a member answered; known == false and no failure when it did not.
  struct Answer {
    bool answered = false;
    GroupReport report;
  };
  const Answer& answer(size_t member) const { return answers_[member]; }

  // Tells the other members that this rank gave the group up. They may be gone: nobody waits for
  // the delivery.
  Status tell_gave_up(int channel, const std::vector<int>& world_ranks, int own_world_rank,
                      const std::string& reason);

 private:
  enum class Kind : int32_t { kQuery, kAnswer, kGaveUp };
  struct Message {
    Kind kind = Kind::kQuery;
    int32_t channel = 0;
    int64_t question = 0;  // an answer repeats it
    GroupReport report;
  };
  struct Outgoing {
    Message message;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  Status send(const Message& message, int world_rank);
  Status listen();
  Status handle(const Message& message, int world_rank);

  MPI_Comm comm_;
  MpiLagListener& listener_;
  Message incoming_;
  MPI_Request incoming_request_ = MPI_REQUEST_NULL;
  std::list<Outgoing> outgoing_;

  int64_t question_ = 0;
  std::vector<int> asked_;
  std::vector<Answer> answers_;
  int missing_ = 0;
};

}  // namespace leasehold
