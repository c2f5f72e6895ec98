// From a job file to the parts that train it. Everything that knows both the job's keys and the
// runtime's options.
#pragma once

#include <memory>
#include <string>

#include "launch/job_file.h"
#include "runtime/device/cpu_device.h"
#include "runtime/tensor/kernels.h"
#include "runtime/train/arithmetic_class.h"
#include "runtime/train/engine.h"
#include "runtime/train/trainer.h"

namespace leasehold {

// A device and what runs on it.
struct ComputeDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Kernels> kernels;
  // Makes the groups whose operations run on the device's streams of groups of host memory; empty
  // where those serve themselves.
  Mesh::GroupMaker make_group;
};

// Where a rank stands among those of its node.
struct NodePlace {
  std::string node;  // "": the process is no rank of a job
  int rank = 0;
  int size = 1;
};
// With device.kind = "cpu" the CPU kernels use the library of matrix products as the process has
// opened it. A rank of device.kind = "cuda" takes the GPU with its number on its node. kBadConfig,
// with the way out, where the build, the driver or the node's GPUs do not allow it. `timeout_s` is
// that of the groups' operations.
Result<ComputeDevice> make_device(const DeviceSection& section, const NodePlace& place,
                                  double timeout_s);
// For device.kind = "cuda": what Engine::forecast says with it is, to the byte, what machines with
// GPUs would allocate. It needs neither a GPU nor a build with CUDA, and computes nothing.
ComputeDevice plan_cuda_device(const DeviceSection& section);

// Whether a rank may start `threads` threads: kBadConfig when the launcher bound it to fewer of the
// machine's cores, where they would only take turns. Pure.
Status check_binding(int64_t threads, int64_t bound_cores, int64_t machine_cores);
// Of this process: cores that it may run on, and cores that the machine has.
int64_t count_bound_cores();
int64_t count_machine_cores();

ArithmeticProbe make_probe(const ModelConfig& model, int64_t microbatch, int64_t tensor);
// Data parallelism takes the ranks that tensor x pipeline leave.
MeshShape make_mesh_shape(const ParallelSection& parallel, int num_ranks);
EngineOptions make_engine_options(const JobFile& job);
// `data_digest` is that of the training file.
TrainerOptions make_trainer_options(const JobFile& job, const std::string& data_digest,
                                    const std::string& node);

// The job's token files, checked for the job's sequence and vocabulary. No validation: null.
struct TokenLoaders {
  std::unique_ptr<WindowLoader> train;
  std::unique_ptr<WindowLoader> validation;
};
Result<TokenLoaders> open_data(FileSystem& files, const JobFile& job);

}  // namespace leasehold
