// The multiprocessors of the devices, as places for blocks. A kernel takes what is free of them, at
// least one, while it runs; a collective takes one for each of its CTAs, also while it waits for
// peers. So collectives that wait may leave none to kernels, and what waits for a place gets it in
// the order of its stream's priority, however long a stream of a higher one keeps them busy.
#pragma once

#include "tests/emulated_gpu/futex.h"

namespace leasehold::emulation {

class BlockPlaces {
 public:
  static constexpr int kPlaces = 64;
  static constexpr int kPriorities = 6;  // 0: the lowest

  // Says that work of `priority` wants places from now on. Ends with take() or disclaim().
  void claim(int priority);
  void disclaim(int priority);
  // Waits until `least` places are free and nothing of a higher priority wants any. Returns how
  // many of `most` it took. After a claim(), which it ends.
  int take(int priority, int least, int most);
  // Returns places. `next_claims`: who returns them wants some again at once, so that nothing of a
  // lower priority comes between; that is a claim().
  void give_back(int count, int priority, bool next_claims);

 private:
  bool higher_wants(int priority) const;

  FutexMutex mutex_;
  FutexCondition changed_;
  int free_ = kPlaces;
  int wanting_[kPriorities] = {};
};

BlockPlaces& block_places_of(int device);

}  // namespace leasehold::emulation
