// The queues that one rank's engine works with, and the events that order them.
#pragma once

#include <array>
#include <memory>

#include "runtime/device/device.h"

namespace leasehold {

struct Streams {
  static Result<Streams> create(Device& device);

  // What is enqueued on `to` from now on runs after what was enqueued on `from` before.
  void order(Stream& from, Stream& to) const {
    from.record(*turn);
    to.wait(*turn);
  }

  // Events outlive the streams' work.
  std::unique_ptr<Event> turn;
  std::array<std::unique_ptr<Event>, 2> gradients_sent;   // of the two unit buffers of gradients
  std::array<std::unique_ptr<Event>, 2> values_released;  // of the two unit buffers of weights
  std::unique_ptr<Stream> compute;
  std::unique_ptr<Stream> communication;  // over the data axis
  std::unique_ptr<Stream> transfer;       // between pipeline stages
};

}  // namespace leasehold
