// Decides after which steps a checkpoint is written to files. A save may be due, may have to wait
// until it is possible, may fail, and is tried again until it succeeds. Pure: every rank feeds its
// schedule the same events and gets the same answers.
//
//   idle --take()--> taking --copied()--> writing --saved()--> idle
//                      |  \------------------|----fail()-----> idle, and owes a save
//                      \-----------drop()--------------------> idle, and owes a save
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

namespace leasehold {

struct SaveScheduleOptions {
  int64_t every_steps = 0;  // 0: no checkpoints at fixed steps
  int64_t keep_every = 0;   // 0: none is kept for ever; else one is due at its multiples too
  // Not 0: checkpoints as often as their measured cost and this mean time between failures make
  // worth while (save_interval.h).
  double mtbf_s = 0;
};

class SaveSchedule {
 public:
  struct Idle {};
  struct Taking {  // the state of `step` is being copied, to be written then
    int64_t step = 0;
  };
  struct Writing {
    int64_t step = 0;
  };
  using State = std::variant<Idle, Taking, Writing>;

  explicit SaveSchedule(const SaveScheduleOptions& options) : options_(options) {}

  // The state is that of `step` now, newer than any before. Times are measured, 0 where none is.
  void step_done(int64_t step, double step_time_s, double save_s);
  // True while a save should begin with the state of the newest step: as soon as it is possible.
  bool wanted() const;

  // Begins a save of the newest step; idle only.
  void take();
  // The copy is whole, and is written from now on.
  void copied();
  // The save that was begun is in files.
  void saved();
  // The save that was begun came to nothing. The first step after which it is tried again: soon,
  // but not at every step while a disk is full.
  int64_t fail();
  // The copy is not wanted any more: the ranks save together, or leave.
  void drop();
  // The state of the newest step was saved elsewhere; idle only.
  void saved_elsewhere();

  const State& state() const { return state_; }
  // The step whose state is being written; nothing otherwise.
  std::optional<int64_t> writing() const;
  // The step whose state is being copied for files; nothing otherwise.
  std::optional<int64_t> taking() const;
  // The step of the newest save that was begun; nothing before the first.
  std::optional<int64_t> newest_begun() const { return newest_begun_; }

 private:
  bool due(double step_time_s, double save_s) const;

  SaveScheduleOptions options_;
  State state_;
  int64_t step_ = 0;
  bool owed_ = false;  // a save became due, and none has begun since or the one that has failed
  int64_t not_before_ = 0;  // the step of which a failure said that the next try is after it
  int64_t num_failed_ = 0;  // in a row
  std::optional<int64_t> newest_begun_;
};

}  // namespace leasehold
