// A side channel next to the data, for finding out which rank lags. Every rank answers what it is
// doing, even while its own thread is stuck in a computation; only a process that is frozen, dead
// or cut off does not answer. The channel also carries the news that a rank gave up a group. Used
// under the engine's progress mutex.
#pragma once

#include <cstdint>
#include <list>
#include <mpi.h>
#include <string>
#include <vector>

#include "collectives/group_reports.h"
#include "runtime/base/clock.h"

namespace leasehold {

class MpiLagListener {
 public:
  virtual ~MpiLagListener() = default;
  virtual GroupReport report(int channel) = 0;
  virtual void peer_gave_up(int channel, int world_rank, const std::string& reason) = 0;
};

class MpiLag {
 public:
  // Takes a communicator for this object alone, with MPI_ERRORS_RETURN. The caller frees it.
  MpiLag(MPI_Comm comm, MpiLagListener& listener);

  // Starts listening. Must be called first.
  Status start();
  // Stops listening.
  void stop();
  // Answers questions and takes in answers. Cheap if nothing arrived.
  Status poll();

  // Asks the members of a group where they are in its operations.
  Status ask(int channel, const std::vector<int>& world_ranks, int own_world_rank);
  bool all_answered() const { return missing_ == 0; }
  // Returns the answers by member, in the order of the question.
  const std::vector<ReportAnswer>& answers() const { return answers_; }

  // Tells the other members that this rank gave up the group. They may be gone, so nobody waits for
  // the delivery.
  Status tell_gave_up(int channel, const std::vector<int>& world_ranks, int own_world_rank,
                      const std::string& reason);

 private:
  enum class Kind : int32_t { kQuery, kAnswer, kGaveUp };
  struct Message {
    Kind kind = Kind::kQuery;
    int32_t channel = 0;
    int64_t question = 0;  // repeated in the answer
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
  std::vector<ReportAnswer> answers_;
  int missing_ = 0;
};

}  // namespace leasehold
