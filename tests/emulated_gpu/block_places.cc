#include "tests/emulated_gpu/block_places.h"

#include "tests/emulated_gpu/device_state.h"

namespace leasehold::emulation {

bool BlockPlaces::higher_wants(int priority) const {
  for (int above = priority + 1; above < kPriorities; ++above) {
    if (wanting_[above] > 0) return true;
  }
  return false;
}

void BlockPlaces::claim(int priority) {
  FutexGuard guard(mutex_);
  ++wanting_[priority];
}

void BlockPlaces::disclaim(int priority) {
  FutexGuard guard(mutex_);
  --wanting_[priority];
  changed_.notify_all();
}

int BlockPlaces::take(int priority, int least, int most) {
  FutexGuard guard(mutex_);
  while (free_ < least || higher_wants(priority)) changed_.wait(mutex_);
  const int taken = free_ < most ? free_ : most;
  free_ -= taken;
  --wanting_[priority];
  changed_.notify_all();  // those of a lower priority
  return taken;
}

void BlockPlaces::give_back(int count, int priority, bool next_claims) {
  FutexGuard guard(mutex_);
  free_ += count;
  if (next_claims) ++wanting_[priority];
  changed_.notify_all();
}

BlockPlaces& block_places_of(int device) {
  // Never destroyed: streams' threads outlive main().
  static auto* all = new BlockPlaces[kMaxDevices];
  return all[device];
}

}  // namespace leasehold::emulation
