// Measures which share of a group's communication is hidden behind computation: step by step, on
// one rank, in the same way on CPU and CUDA.
//
//   busy     seconds in which collectives of the group were under way (Communicator::busy_s): data
//            travelled, or the rank waited for peers that came later.
//   exposed  seconds in which computation stood still for them: on the compute stream, from the end
//            of the work before a wait to the end of the wait. Where streams are inline, the
//            enqueuing thread is what computes. Its time counts while it issues collectives
//            and waits for them, on any stream.
//   hidden   1 - exposed / busy, not below 0. No figure if nothing was under way.
//
// The meter leaves out messages between pipeline stages, whose waits are the schedule's bubble, and
// every group but the one given to begin(). Adding received gradients is computation, and not in
// `busy`; if the compute stream waits for the last such sums on the communication stream, they are
// in `exposed`. So a step that does little else may be exposed for longer than it is busy.
//
// Measuring changes neither results nor order. The meter records timed events around the waits and
// reads them when the step is done, without waiting.
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
  // Makes a meter for the stream that computes. `device` must outlive the meter. The meter must
  // outlive the streams that it was used with: they record its events.
  CommunicationMeter(Device& device, const Stream& compute) : device_(device), compute_(compute) {}

  // Measures from now on until end(), which returns the figures of the time between. Before end(),
  // all work of the compute stream must be done. The figures are zero if the group has one rank or
  // if a time could not be taken.
  void begin(Communicator& group);
  Communication end();

  // Calls wait(), which enqueues something that `stream` may stand still for, or issue(), which may
  // hold up the calling thread if `stream` is inline. Between begin() and end() their time counts
  // if computation stands still with them. Allocates events if a step needs more of them than every
  // step before.
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

// Returns `inner` with every issue and every Work::then passing through the meter. Both must
// outlive the result. Groups made by split() are not measured.
std::unique_ptr<Communicator> create_measured_communicator(Communicator& inner,
                                                           CommunicationMeter& meter);

}  // namespace leasehold
