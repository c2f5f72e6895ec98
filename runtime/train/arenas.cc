#include "runtime/train/arenas.h"

namespace leasehold {

Arenas Arenas::measuring(DeviceKind kind) {
  return {kind,
          Arena::measuring("parameters"),
          Arena::measuring("gradients"),
          Arena::measuring("optimizer"),
          Arena::measuring("activations"),
          Arena::measuring("scratch"),
          Arena::measuring("communication"),
          Arena::measuring("batch"),
          Arena::measuring("staging")};
}

Result<Arenas> Arenas::create(Device& device, const Arenas& measured) {
  const auto make = [&](const Arena& arena, MemoryKind kind = MemoryKind::kDevice) {
    return Arena::create(device, arena.name(), arena.peak_bytes(), kind);
  };
  LEASEHOLD_ASSIGN_OR_RETURN(Arena parameters, make(measured.parameters));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena gradients, make(measured.gradients));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena optimizer, make(measured.optimizer));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena activations, make(measured.activations));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena scratch, make(measured.scratch));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena communication, make(measured.communication));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena batch, make(measured.batch));
  LEASEHOLD_ASSIGN_OR_RETURN(Arena staging, make(measured.staging, MemoryKind::kPinned));
  return Arenas{
      device.kind(),          std::move(parameters), std::move(gradients),     std::move(optimizer),
      std::move(activations), std::move(scratch),    std::move(communication), std::move(batch),
      std::move(staging)};
}

std::vector<const Arena*> Arenas::all() const {
  return {&parameters, &gradients,     &optimizer, &activations,
          &scratch,    &communication, &batch,     &staging};
}

int64_t Arenas::total_bytes() const {
  int64_t total = 0;
  for (const Arena* arena : all()) total += arena->peak_bytes();
  return total;
}

}  // namespace leasehold
