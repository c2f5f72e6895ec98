// A small GPT-2 training job in memory: random tokens, a device, kernels, a mesh over any
// communicator, an engine. What tests of training start from.
#pragma once

#include <memory>
#include <string>

#include "models/describe.h"
#include "runtime/comm/communicator.h"
#include "runtime/device/cpu_device.h"
#include "runtime/train/engine.h"

namespace leasehold {

// 2 layers of 32 channels, 4 heads, T = 12, V = 61, microbatches of 2 sequences; M = L = 8; every
// feature on.
struct SmallJob {
  ModelConfig model;
  EngineOptions options;
  DeviceKind device_kind = DeviceKind::kCpu;  // kCuda: rank r of the world on device r, over NCCL
  CpuDeviceOptions device;                    // kCpu
  DType precision = DType::kF32;
  int pipeline = 1;
  int tensor = 1;

  SmallJob();
  // Data parallelism takes what pipeline and tensor leave.
  MeshShape mesh_of(int num_ranks) const;
};

// Writes `num_tokens` random tokens below `vocab` in llm.c's format.
void write_random_tokens(const std::string& path, int64_t num_tokens, int64_t vocab, uint64_t seed);

// One rank's engine with everything that it stands on.
class SmallRank {
 public:
  // Collective over `world`. Throws StatusError.
  SmallRank(const SmallJob& job, const std::string& token_path, Communicator& world);

  Engine& engine() { return *engine_; }
  Device& device() { return *device_; }
  Kernels& kernels() { return *kernels_; }
  const WindowLoader& loader() const { return loader_; }
  Stream& stream() { return *stream_; }  // of the CPU, for the world
  // Collective. Runs steps [begin, end) and returns "loss gradient_norm" with 17 digits per step.
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

// The whole state of all ranks, gathered and digested in name order: the same for every layout.
// Collective.
std::string gathered_state_digest(Engine& engine, Communicator& world, Stream& stream);

}  // namespace leasehold
