#include "runtime/train/streams.h"

namespace leasehold {

Result<Streams> Streams::create(Device& device) {
  Streams streams;
  LEASEHOLD_ASSIGN_OR_RETURN(streams.turn, device.create_event());
  for (auto* pair : {&streams.gradients_sent, &streams.values_released}) {
    for (std::unique_ptr<Event>& event : *pair) {
      LEASEHOLD_ASSIGN_OR_RETURN(event, device.create_event());
    }
  }
  LEASEHOLD_ASSIGN_OR_RETURN(streams.state_final, device.create_event());
  LEASEHOLD_ASSIGN_OR_RETURN(streams.state_captured, device.create_event());
  streams.host_device = CpuDevice::create({});
  LEASEHOLD_ASSIGN_OR_RETURN(streams.host, streams.host_device->create_stream("host"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.capture, device.create_stream("capture"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.compute, device.create_stream("compute"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.communication, device.create_stream("communication"));
  LEASEHOLD_ASSIGN_OR_RETURN(streams.transfer, device.create_stream("transfer"));
  streams.meter = std::make_unique<CommunicationMeter>(device, *streams.compute);
  return streams;
}

}  // namespace leasehold
