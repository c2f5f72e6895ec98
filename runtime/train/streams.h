// The queues that one rank's engine works with, and the events that order them.
#pragma once

#include <array>
#include <memory>

#include "runtime/comm/communication_meter.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

struct Streams {
  static Result<Streams> create(Device& device);

  // What is enqueued on `to` from now on runs after what was enqueued on `from` before.
  void order(Stream& from, Stream& to) const {
    from.record(*turn);
    to.wait(*turn);
  }
  // The same from communication to compute; compute's standing still for it is measured.
  void await_communication() const {
    meter->around_wait(*compute, [this] { order(*communication, *compute); });
  }

  // Events outlive the streams' work.
  std::unique_ptr<Event> turn;
  std::array<std::unique_ptr<Event>, 2> gradients_sent;   // of the two unit buffers of gradients
  std::array<std::unique_ptr<Event>, 2> values_released;  // of the two unit buffers of weights
  std::unique_ptr<Event> state_final;                     // for the capture of the state
  std::unique_ptr<Event> state_captured;
  std::unique_ptr<CommunicationMeter> meter;  // over the data axis
  std::unique_ptr<CpuDevice> host_device;
  std::unique_ptr<Stream> compute;
  std::unique_ptr<Stream> communication;  // over the data axis
  std::unique_ptr<Stream> transfer;       // between pipeline stages
  std::unique_ptr<Stream> capture;        // from the device's memory to the host's, of the state
  std::unique_ptr<Stream> host;           // of the CPU, inline: what ranks say in host memory
};

}  // namespace leasehold
