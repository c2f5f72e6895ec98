// Performs a stage's actions: receives what an action needs from the neighbouring stage, has it
// computed, sends what comes out, and lets the next message travel meanwhile.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/train/arenas.h"
#include "runtime/train/pipeline_schedule.h"
#include "runtime/train/streams.h"

namespace leasehold {

// What computes. Everything is enqueued on the compute stream. `place` numbers the sets of
// activations of a chunk: a microbatch keeps its place from forward to backward.
class StageWork {
 public:
  virtual ~StageWork() = default;
  // Absent input: the first part of the model; absent output: the last.
  virtual void forward(const PipelineAction& action, int64_t place, Tensor input,
                       Tensor output) = 0;
  // input_gradient may be the memory of output_gradient.
  virtual void backward(const PipelineAction& action, int64_t place, Tensor output_gradient,
                        Tensor input_gradient) = 0;
};

class PipelineExecutor {
 public:
  // `ahead` and `back` are two groups over the pipeline axis, one per direction, so that messages
  // of one direction never wait behind the other's. places[c]: sets of activations of chunk c.
  // `boundary` is the shape of what stages exchange. References must outlive the object.
  PipelineExecutor(Communicator& ahead, Communicator& back, int num_chunks,
                   const std::vector<int64_t>& places, const Shape& boundary, DType dtype,
                   const Streams& streams, Arenas& arenas);

  // Collective over the pipeline: every stage runs its actions of one schedule. Enqueued, waits on
  // the host where streams are inline; what is enqueued on compute later runs when the neighbours
  // have everything.
  void run(const std::vector<PipelineAction>& actions, StageWork& work);

 private:
  // Memory that a message comes into or leaves from.
  struct Letter {
    Tensor memory;
    Work work;               // the newest message
    bool is_posted = false;  // a receive for the action that will use it
    bool is_busy = false;    // holds what a later action needs
  };
  // Gradients pass a stage in place: a letter is received, computed upon and sent.
  static constexpr size_t kGradients = 4;

  bool is_first(int chunk) const { return stage_ == 0 && chunk == 0; }
  bool is_last(int chunk) const { return stage_ + 1 == num_stages_ && chunk + 1 == num_chunks_; }
  int64_t place_of(const PipelineAction& action) const;
  Letter& input_of(const PipelineAction& action);
  // Posts the receive of an action unless its memory is still in use.
  void post(const PipelineAction& action, size_t gradient, bool must);
  void forward(const PipelineAction& action, StageWork& work);
  void backward(const PipelineAction& action, StageWork& work);

  Communicator& ahead_;
  Communicator& back_;
  int stage_;
  int num_stages_;
  int num_chunks_;
  const Streams& streams_;
  std::vector<int64_t> places_;
  std::vector<std::vector<Letter>> inputs_;   // [chunk][place]
  std::vector<std::vector<Letter>> outputs_;  // [chunk][place]
  std::array<Letter, kGradients> gradients_;
  size_t next_gradient_ = 0;   // counts backwards
  bool keeps_inputs_ = false;  // backwards will follow
};

}  // namespace leasehold
