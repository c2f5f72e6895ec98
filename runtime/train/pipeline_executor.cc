#include "runtime/train/pipeline_executor.h"

#include <algorithm>

namespace leasehold {

PipelineExecutor::PipelineExecutor(Communicator& ahead, Communicator& back, int num_chunks,
                                   const std::vector<int64_t>& places, const Shape& boundary,
                                   DType dtype, const Streams& streams, Arenas& arenas)
    : ahead_(ahead),
      back_(back),
      stage_(ahead.rank()),
      num_stages_(ahead.size()),
      num_chunks_(num_chunks),
      streams_(streams),
      places_(places) {
  for (int chunk = 0; chunk < num_chunks; ++chunk) {
    const auto count = static_cast<size_t>(places[static_cast<size_t>(chunk)]);
    inputs_.emplace_back(count);
    outputs_.emplace_back(count);
    for (size_t i = 0; i < count; ++i) {
      if (!is_first(chunk)) inputs_.back()[i].memory = arenas.activations.allocate(dtype, boundary);
      if (!is_last(chunk)) outputs_.back()[i].memory = arenas.activations.allocate(dtype, boundary);
    }
  }
  if (num_stages_ == 1) return;
  for (Letter& gradient : gradients_)
    gradient.memory = arenas.activations.allocate(dtype, boundary);
}

int64_t PipelineExecutor::place_of(const PipelineAction& action) const {
  return action.microbatch % places_[static_cast<size_t>(action.chunk)];
}

PipelineExecutor::Letter& PipelineExecutor::input_of(const PipelineAction& action) {
  return inputs_[static_cast<size_t>(action.chunk)][static_cast<size_t>(place_of(action))];
}

void PipelineExecutor::post(const PipelineAction& action, size_t gradient, bool must) {
  const bool forward = action.pass == Pass::kForward;
  if (forward ? is_first(action.chunk) : is_last(action.chunk)) return;
  Letter& letter = forward ? input_of(action) : gradients_[gradient % kGradients];
  if (letter.is_posted) return;
  if (letter.is_busy) {
    LEASEHOLD_CHECK(!must, "chunk {}: microbatch {} finds its memory in use", action.chunk,
                    action.microbatch);
    return;
  }
  // Everything that used this memory is enqueued on compute, or is a message under way.
  streams_.order(*streams_.compute, *streams_.transfer);
  if (forward) {
    letter.work =
        ahead_.receive(letter.memory, (stage_ + num_stages_ - 1) % num_stages_, *streams_.transfer);
  } else {
    letter.work.then(*streams_.transfer);
    letter.work = back_.receive(letter.memory, (stage_ + 1) % num_stages_, *streams_.transfer);
  }
  letter.is_posted = true;
}

void PipelineExecutor::run(const std::vector<PipelineAction>& actions, StageWork& work) {
  keeps_inputs_ = std::ranges::any_of(
      actions, [](const PipelineAction& action) { return action.pass == Pass::kBackward; });
  for (size_t i = 0; i < actions.size(); ++i) {
    const PipelineAction& action = actions[i];
    post(action, next_gradient_, true);
    if (i + 1 < actions.size()) {
      const bool is_backward = action.pass == Pass::kBackward;
      post(actions[i + 1], next_gradient_ + (is_backward ? 1 : 0), false);
    }
    if (action.pass == Pass::kForward) {
      forward(action, work);
    } else {
      backward(action, work);
    }
  }
  // The neighbours have everything before this stage goes on, or leaves.
  for (const auto& chunk : outputs_) {
    for (const Letter& output : chunk) output.work.then(*streams_.compute);
  }
  for (const Letter& gradient : gradients_) gradient.work.then(*streams_.compute);
}

void PipelineExecutor::forward(const PipelineAction& action, StageWork& work) {
  Letter& input = input_of(action);
  Letter& output =
      outputs_[static_cast<size_t>(action.chunk)][static_cast<size_t>(place_of(action))];
  if (!is_first(action.chunk)) {
    input.work.then(*streams_.compute);
    input.is_posted = false;
    input.is_busy = keeps_inputs_;
  }
  if (!is_last(action.chunk)) output.work.then(*streams_.compute);
  work.forward(action, place_of(action), input.memory, output.memory);
  if (is_last(action.chunk)) return;
  streams_.order(*streams_.compute, *streams_.transfer);
  output.work = ahead_.send(output.memory, (stage_ + 1) % num_stages_, *streams_.transfer);
}

void PipelineExecutor::backward(const PipelineAction& action, StageWork& work) {
  if (num_stages_ == 1) {
    work.backward(action, place_of(action), {}, {});
    return;
  }
  Letter& gradient = gradients_[next_gradient_ % kGradients];
  ++next_gradient_;
  // Received; or, in the last part, free once what left from here before has been sent.
  gradient.work.then(*streams_.compute);
  gradient.is_posted = false;
  work.backward(action, place_of(action), is_last(action.chunk) ? Tensor{} : gradient.memory,
                is_first(action.chunk) ? Tensor{} : gradient.memory);
  input_of(action).is_busy = false;
  if (is_first(action.chunk)) return;
  streams_.order(*streams_.compute, *streams_.transfer);
  gradient.work =
      back_.send(gradient.memory, (stage_ + num_stages_ - 1) % num_stages_, *streams_.transfer);
}

}  // namespace leasehold
