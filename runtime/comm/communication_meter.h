// How much of a group's communication is hidden behind computation, measured step by step on one
// rank, in the same way on CPU and CUDA.
//
//   busy     seconds in which collectives of the group were under way (Communicator::busy_s): data
//            on its way, and waiting for peers that come later.
//   exposed  seconds in which computation stood still for them: the compute stream between the end
//            of what came before a wait and the end of the wait. Where streams are inline, the
//            thread that enqueues is what computes, so the time counts that it spends issuing
//            collectives and waiting for them, on whichever stream.
//   hidden   1 - exposed / busy, not below 0. No figure where nothing was under way.
//
// What it leaves out: messages between pipeline stages, whose waits are the schedule's bubble, and
// other groups than the one that was begun with. What received gradients cost to be added up is
// computation, and not in `busy`; where the compute stream waits for the last such sums on the
// communication stream, they are in `exposed`. So a step that does little else may expose more than
// it is busy.
//
// Measuring changes neither results nor order: it records timed events beside the waits and reads
// them when the step is done, without waiting.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "runtime/comm/communicator.h"

namespace leasehold {

struct Communication {
  double busy_s = 0;
  double exposed_s = 0;

  std::optional<double> hidden_share() const;
  Communication& operator+=(const Communication& other);
};

class CommunicationMeter {
 public:
  // `compute` is the stream that computes. `device` must outlive the meter, and the meter the
  // streams that it was used with: they record its events.
  CommunicationMeter(Device& device, const Stream& compute) : device_(device), compute_(compute) {}

  // Measures from now on until end(), which gives the figures of the time between. All that the
  // compute stream was given must be done by then. Zeros when the group has one rank, or when a
  // time could not be taken.
  void begin(Communicator& group);
  Communication end();

  // Calls wait(), which enqueues something that `stream` may stand still for; and issue(), which
  // may hold up the calling thread where `stream` is inline. Between begin() and end() their time
  // counts where computation stands still with them. Allocates events when a step needs more than
  // any before it.
  template <typename Wait>
  void around_wait(Stream& stream, Wait&& wait) {
    around(stream, &stream == &compute_ || is_inline(stream), wait);
  }
  template <typename Issue>
  void around_issue(Stream& stream, Issue&& issue) {
    around(stream, is_inline(stream), issue);
  }

 private:
  struct Span {
    std::unique_ptr<Event> begin, end;
  };

  template <typename Call>
  void around(Stream& stream, bool counts, Call&& call) {
    if (group_ == nullptr || !counts) return call();
    const size_t span = begin_span(stream);
    call();
    end_span(span, stream);
  }
  static bool is_inline(const Stream& stream);
  size_t begin_span(Stream& stream);
  void end_span(size_t span, Stream& stream);

  Device& device_;
  const Stream& compute_;
  Communicator* group_ = nullptr;  // while it measures
  double busy_before_s_ = 0;
  std::vector<Span> spans_;
  size_t num_spans_ = 0;  // since begin()
};

// `inner` with every issue and every Work::then passing through the meter. Both must outlive it.
// What split makes of it is not measured.
std::unique_ptr<Communicator> create_measured_communicator(Communicator& inner,
                                                           CommunicationMeter& meter);

}  // namespace leasehold
