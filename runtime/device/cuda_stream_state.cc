#include "runtime/device/cuda_stream_state.h"

#include <algorithm>

namespace leasehold {

namespace {

Status status_of(FaultWord word) {
  switch (fault_of(word)) {
    case CudaFault::kNone:
      return ok_status();
    case CudaFault::kToken:
      return error(Code::kInternal, "embedding: token {} is outside the vocabulary",
                   fault_value(word));
    case CudaFault::kTarget:
      return error(Code::kInternal, "cross_entropy: target {} is outside the vocabulary",
                   fault_value(word));
  }
  return error(Code::kInternal, "a kernel reported fault {:#x}", word);
}

}  // namespace

Result<std::shared_ptr<CudaStreamState>> CudaStreamState::create(
    std::shared_ptr<CudaContext> context, const std::string& name) {
  auto state = std::shared_ptr<CudaStreamState>(new CudaStreamState(std::move(context)));
  state->prefix_ = state->context_->name() + ", stream " + name;
  LEASEHOLD_ASSIGN_OR_RETURN(state->word_, state->context_->take_fault_word());
  return state;
}

CudaStreamState::~CudaStreamState() {
  if (word_.host != nullptr && !word_may_be_written_) context_->give_back(word_);
}

cudaStream_t CudaStreamState::handle() const {
  std::lock_guard lock(mutex_);
  return handle_;
}

void CudaStreamState::open(cudaStream_t handle) {
  std::lock_guard lock(mutex_);
  handle_ = handle;
  word_may_be_written_ = true;
}

void CudaStreamState::close(bool finished) {
  std::lock_guard lock(mutex_);
  handle_ = nullptr;
  word_may_be_written_ = !finished;
}

void CudaStreamState::fail(const Status& status) {
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = status.annotated(prefix_);
}

Status CudaStreamState::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

Status CudaStreamState::look_at_fault() {
  const FaultWord word = *const_cast<const volatile FaultWord*>(word_.host);
  fail(status_of(word));
  return failure();
}

void CudaStreamState::add_sources_to(std::vector<std::shared_ptr<CudaStreamState>>& reached) const {
  std::lock_guard lock(mutex_);
  for (const auto& source : sources_) {
    auto state = source.lock();
    if (state == nullptr || state.get() == this) continue;
    if (std::ranges::count(reached, state) == 0) reached.push_back(std::move(state));
  }
}

Status CudaStreamState::find_failure() {
  Status found = look_at_fault();
  if (!found.ok()) return found;
  // Streams wait for each other in circles, so each is looked at once. The list keeps its memory:
  // steps allocate nothing.
  static thread_local std::vector<std::shared_ptr<CudaStreamState>> reached;
  reached.clear();
  add_sources_to(reached);
  for (size_t i = 0; i < reached.size() && found.ok(); ++i) {
    found = reached[i]->look_at_fault();
    const std::shared_ptr<CudaStreamState> from = reached[i];
    from->add_sources_to(reached);
  }
  reached.clear();
  std::lock_guard lock(mutex_);
  if (failure_.ok()) failure_ = found;
  return failure_;
}

void CudaStreamState::depend_on(const std::shared_ptr<CudaStreamState>& source) {
  if (source.get() == this) return;
  std::lock_guard lock(mutex_);
  std::erase_if(sources_, [](const auto& known) { return known.expired(); });
  const auto is_source = [&](const auto& known) { return known.lock() == source; };
  if (!std::ranges::any_of(sources_, is_source)) sources_.push_back(source);
}

}  // namespace leasehold
