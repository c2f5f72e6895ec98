// A small GPT-2 training job in memory, on which tests of training are built: random tokens, a
// device, kernels, a mesh over any communicator, an engine.
#pragma once

#include <memory>
#include <string>

#include "models/describe.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/cpu_device.h"
#include "runtime/train/engine.h"

namespace leasehold {

// The settings of the job: 2 layers of 32 channels, 4 heads, T = 12, V = 61, microbatches of 2
// sequences, M = L = 8, and every feature on.
struct SmallJob {
  ModelConfig model;
  EngineOptions options;
  DeviceKind device_kind = DeviceKind::kCpu;  // kCuda: rank r of the world on device r, with NCCL
  CpuDeviceOptions device;                    // kCpu
  DType precision = DType::kF32;
  int pipeline = 1;
  int tensor = 1;

  SmallJob();
  // Returns the mesh; data parallelism takes the ranks that pipeline and tensor leave.
  MeshShape mesh_of(int num_ranks) const;
};

// Writes `num_tokens` random tokens below `vocab` in llm.c's format.
void write_random_tokens(const std::string& path, int64_t num_tokens, int64_t vocab, uint64_t seed);

// One rank's engine with everything that it needs.
class SmallRank {
 public:
  // Collective over `world`. Throws StatusError.
  SmallRank(const SmallJob& job, const std::string& token_path, Communicator& world);

  Engine& engine() { return *engine_; }
  Device& device() { return *device_; }
  Kernels& kernels() { return *kernels_; }
  const Mesh& mesh() const { return mesh_; }
  const WindowLoader& loader() const { return loader_; }
  Stream& stream() { return *stream_; }  // of the CPU, for the world
  // Runs steps [begin, end). Returns "loss gradient_norm" with 17 digits per step. Collective.
  std::vector<std::string> run(int64_t begin, int64_t end);

 private:
  std::unique_ptr<Device> device_;
  std::unique_ptr<Kernels> kernels_;
  std::unique_ptr<CpuDevice> host_;
  std::unique_ptr<Stream> stream_;
  WindowLoader loader_;
  Mesh mesh_;
  std::unique_ptr<Engine> engine_;
};

// Returns the digest of all ranks' state, gathered and digested in the order of names: the same for
// every layout. Collective.
std::string gathered_state_digest(Engine& engine, Communicator& world, Stream& stream);

}  // namespace leasehold
