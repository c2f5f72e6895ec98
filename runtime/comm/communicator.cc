#include "runtime/comm/communicator.h"

#include "runtime/base/check.h"

namespace leasehold {

namespace {

bool reducible(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF64 || dtype == DType::kI32;
}

}  // namespace

Work Communicator::all_reduce(Tensor data, ReduceOp op, Stream& stream) {
  LEASEHOLD_CHECK(reducible(data.dtype()), "{}: all_reduce of {}", name(),
                  dtype_name(data.dtype()));
  return do_all_reduce(data, op, stream);
}

Work Communicator::all_gather(Tensor input, Tensor output, Stream& stream) {
  LEASEHOLD_CHECK(
      input.dtype() == output.dtype() && output.num_elements() == size() * input.num_elements(),
      "{}: all_gather of {} into {}", name(), input.shape().to_string(),
      output.shape().to_string());
  return do_all_gather(input, output, stream);
}

Work Communicator::reduce_scatter(Tensor input, Tensor output, ReduceOp op, Stream& stream) {
  LEASEHOLD_CHECK(reducible(input.dtype()) && input.dtype() == output.dtype() &&
                      input.num_elements() == size() * output.num_elements(),
                  "{}: reduce_scatter of {} into {}", name(), input.shape().to_string(),
                  output.shape().to_string());
  return do_reduce_scatter(input, output, op, stream);
}

Work Communicator::all_to_all(std::span<const Tensor> send, std::span<const Tensor> recv,
                              Stream& stream) {
  const auto ranks = static_cast<size_t>(size());
  LEASEHOLD_CHECK(send.size() == ranks && recv.size() == ranks,
                  "{}: all_to_all of {} and {} tensors over {} ranks", name(), send.size(),
                  recv.size(), ranks);
  const auto self = static_cast<size_t>(rank());
  LEASEHOLD_CHECK(send[self].size_bytes() == recv[self].size_bytes(),
                  "{}: all_to_all sends itself {} bytes, expects {}", name(),
                  send[self].size_bytes(), recv[self].size_bytes());
  return do_all_to_all(send, recv, stream);
}

Work Communicator::broadcast(Tensor data, int root, Stream& stream) {
  LEASEHOLD_CHECK(root >= 0 && root < size(), "{}: broadcast from rank {} of {}", name(), root,
                  size());
  return do_broadcast(data, root, stream);
}

Work Communicator::send(Tensor data, int peer, Stream& stream) {
  LEASEHOLD_CHECK(peer >= 0 && peer < size() && peer != rank(), "{}: send to rank {} of {}", name(),
                  peer, size());
  return do_send(data, peer, stream);
}

Work Communicator::receive(Tensor data, int peer, Stream& stream) {
  LEASEHOLD_CHECK(peer >= 0 && peer < size() && peer != rank(), "{}: receive from rank {} of {}",
                  name(), peer, size());
  return do_receive(data, peer, stream);
}

}  // namespace leasehold
