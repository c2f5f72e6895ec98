#include "collectives/mpi_lag.h"

#include <algorithm>
#include <type_traits>

#include "collectives/mpi_calls.h"

namespace leasehold {

namespace {

constexpr int kTag = 1;

}  // namespace

MpiLag::MpiLag(MPI_Comm comm, MpiLagListener& listener) : comm_(comm), listener_(listener) {
  static_assert(std::is_trivially_copyable_v<Message>,
                "messages travel as bytes between equal programs");
}

Status MpiLag::start() { return listen(); }

Status MpiLag::listen() {
  return check_mpi(MPI_Irecv(&incoming_, sizeof(incoming_), MPI_BYTE, MPI_ANY_SOURCE, kTag, comm_,
                             &incoming_request_),
                   "MPI_Irecv of the side channel");
}

void MpiLag::stop() {
  if (incoming_request_ == MPI_REQUEST_NULL) return;
  // A receive that has been matched meanwhile completes by itself: messages here are short.
  (void)MPI_Cancel(&incoming_request_);
  (void)wait_for_request(&incoming_request_, "MPI_Cancel of the side channel", 1);
  incoming_request_ = MPI_REQUEST_NULL;
}

Status MpiLag::poll() {
  while (incoming_request_ != MPI_REQUEST_NULL) {
    int arrived = 0;
    MPI_Status status;
    LEASEHOLD_RETURN_IF_ERROR(
        check_mpi(MPI_Test(&incoming_request_, &arrived, &status), "MPI_Test of the side channel"));
    if (arrived == 0) break;
    const Message message = incoming_;
    LEASEHOLD_RETURN_IF_ERROR(listen());
    LEASEHOLD_RETURN_IF_ERROR(handle(message, status.MPI_SOURCE));
  }
  for (auto entry = outgoing_.begin(); entry != outgoing_.end();) {
    int sent = 0;
    LEASEHOLD_RETURN_IF_ERROR(check_mpi(MPI_Test(&entry->request, &sent, MPI_STATUS_IGNORE),
                                        "MPI_Test of the side channel"));
    entry = sent != 0 ? outgoing_.erase(entry) : std::next(entry);
  }
  return ok_status();
}

Status MpiLag::handle(const Message& message, int world_rank) {
  switch (message.kind) {
    case Kind::kQuery: {
      Message answer = message;
      answer.kind = Kind::kAnswer;
      answer.report = listener_.report(message.channel);
      return send(answer, world_rank);
    }
    case Kind::kAnswer: {
      // A late answer to an earlier question.
      if (message.question != question_) return ok_status();
      const auto member = std::find(asked_.begin(), asked_.end(), world_rank);
      if (member == asked_.end()) return ok_status();
      ReportAnswer& answer = answers_[static_cast<size_t>(member - asked_.begin())];
      if (!answer.answered) --missing_;
      answer = {true, message.report};
      return ok_status();
    }
    case Kind::kGaveUp:
      listener_.peer_gave_up(message.channel, world_rank, message.report.failure);
      return ok_status();
  }
  return ok_status();
}

Status MpiLag::send(const Message& message, int world_rank) {
  Outgoing& entry = outgoing_.emplace_back();
  entry.message = message;
  return check_mpi(
      MPI_Isend(&entry.message, sizeof(Message), MPI_BYTE, world_rank, kTag, comm_, &entry.request),
      "MPI_Isend of the side channel");
}

Status MpiLag::ask(int channel, const std::vector<int>& world_ranks, int own_world_rank) {
  ++question_;
  asked_ = world_ranks;
  answers_.assign(asked_.size(), {});
  missing_ = 0;
  for (const int world_rank : asked_) {
    if (world_rank == own_world_rank) continue;
    ++missing_;
    LEASEHOLD_RETURN_IF_ERROR(
        send({.kind = Kind::kQuery, .channel = channel, .question = question_}, world_rank));
  }
  return ok_status();
}

Status MpiLag::tell_gave_up(int channel, const std::vector<int>& world_ranks, int own_world_rank,
                            const std::string& reason) {
  Message message{.kind = Kind::kGaveUp, .channel = channel};
  message.report.set_failure(reason);
  for (const int world_rank : world_ranks) {
    if (world_rank != own_world_rank) LEASEHOLD_RETURN_IF_ERROR(send(message, world_rank));
  }
  return ok_status();
}

}  // namespace leasehold
