#include "tests/emulated_gpu/processors.h"

#include "tests/emulated_gpu/device_state.h"

namespace leasehold::emulation {

bool Processors::higher_wants(int priority) const {
  for (int above = priority + 1; above < kPriorities; ++above) {
    if (wanting_[above] > 0) return true;
  }
  return false;
}

void Processors::claim(int priority) {
  FutexGuard guard(mutex_);
  ++wanting_[priority];
}

void Processors::disclaim(int priority) {
  FutexGuard guard(mutex_);
  --wanting_[priority];
  changed_.notify_all();
}

int Processors::take(int priority, int least, int most) {
  FutexGuard guard(mutex_);
  while (free_ < least || higher_wants(priority)) changed_.wait(mutex_);
  const int taken = free_ < most ? free_ : most;
  free_ -= taken;
  --wanting_[priority];
  changed_.notify_all();  // those of a lower priority
  return taken;
}

void Processors::give_back(int count, int priority, bool next_claims) {
  FutexGuard guard(mutex_);
  free_ += count;
  if (next_claims) ++wanting_[priority];
  changed_.notify_all();
}

Processors& processors_of(int device) {
  // Never destroyed: streams' threads outlive main().
  static auto* all = new Processors[kMaxDevices];
  return all[device];
}

}  // namespace leasehold::emulation
