// Loads the model of a checkpoint for forward passes: its description, tokenizer and weights, on
// one rank and a CPU or GPU, in the precision of the job that wrote it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/compose.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

// The device that computes a checkpoint's model.
struct ModelDevice {
  std::string kind = "cpu";  // or "cuda": the first GPU that the process sees
  int num_threads = 1;       // for "cpu" only
};

class CheckpointModel {
 public:
  // Loads the model at `path`: a checkpoint's directory (".../checkpoints/step-00000100"), or a
  // run's, whose newest checkpoint is taken. Checks the digest of every byte. Fails with
  // kMissingInput or kBadData, with kUsage for more than one thread with "cuda", and with
  // kBadConfig if "cuda" is not available.
  static Result<std::unique_ptr<CheckpointModel>> load(FileSystem& files, const std::string& path,
                                                       const ModelDevice& device);

  const CheckpointInfo& info() const { return handle_.info; }
  const ModelConfig& config() const { return config_; }
  // Returns the tokenizer, started. Fails with kBadData if the checkpoint holds none, and with
  // kUnavailable if a library that the tokenizer needs is missing.
  Result<const Tokenizer*> tokenizer() const;

  // Allocates for B sequences of T positions, at most config().sequence. Must be called before
  // saved().
  Status prepare(int64_t B, int64_t T);
  Module& model() { return *model_; }
  Saved& saved() { return *saved_; }
  Kernels& kernels() { return *compute_.kernels; }
  Stream& stream() { return *stream_; }
  Device& device() { return *compute_.device; }

 private:
  CheckpointModel() = default;
  Status load_weights(FileSystem& files);
  // Copies fp32 weights, in the order of the table, from host memory to the device in its dtype.
  Status take_weights(const std::vector<Tensor>& stored);

  ComputeDevice compute_;
  std::unique_ptr<Stream> stream_;
  CheckpointHandle handle_;
  ModelConfig config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Arena> weights_, activations_, scratch_;
  std::unique_ptr<ParameterTable> table_;
  std::unique_ptr<Module> model_;
  std::unique_ptr<Saved> saved_;
};

}  // namespace leasehold
