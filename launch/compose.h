// Builds the parts that train a job from its job file. All code that knows both the job's keys and
// the runtime's options is here.
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

// A device with its kernels and groups.
struct ComputeDevice {
  std::unique_ptr<Device> device;
  std::unique_ptr<Kernels> kernels;
  // Makes, from a group on host memory, the same group with operations on the device's streams.
  // Empty if groups on host memory serve the device themselves.
  Mesh::GroupMaker make_group;
};

// The position of a rank among the ranks of its node.
struct NodePlace {
  std::string node;  // "" if the process is no rank of a job
  int rank = 0;
  int size = 1;
};
// Returns the device of a rank. With device.kind = "cpu" its kernels use the library of matrix
// products as the process has opened it. With "cuda" the rank takes the GPU with its number on its
// node. Fails with kBadConfig, naming the way out, if the build, the driver or the node's GPUs do
// not allow it. `timeout_s` is the timeout of the groups' operations.
Result<ComputeDevice> make_device(const DeviceSection& section, const NodePlace& place,
                                  double timeout_s);
// Returns a planned device for device.kind = "cuda". Engine::forecast says with it, to the byte,
// how much memory machines with GPUs would allocate. Needs neither a GPU nor a build with CUDA, and
// computes nothing.
ComputeDevice plan_cuda_device(const DeviceSection& section);

// Fails with kBadConfig if the launcher bound a rank that starts `threads` threads to fewer of the
// machine's cores, where the threads would only take turns. Pure.
Status check_binding(int64_t threads, int64_t bound_cores, int64_t machine_cores);
// Returns the number of cores that this process may run on.
int64_t count_bound_cores();
// Returns the number of cores of the machine.
int64_t count_machine_cores();

ArithmeticProbe make_probe(const ModelConfig& model, int64_t microbatch, int64_t tensor);
// Returns the mesh of `num_ranks`. Data parallelism takes the ranks that tensor x pipeline leave.
MeshShape make_mesh_shape(const ParallelSection& parallel, int num_ranks);
EngineOptions make_engine_options(const JobFile& job);
// Returns the trainer's options. `data_digest` is the digest of the training file.
TrainerOptions make_trainer_options(const JobFile& job, const std::string& data_digest,
                                    const std::string& node);

// The job's token files; `validation` is null without validation data.
struct TokenLoaders {
  std::unique_ptr<WindowLoader> train;
  std::unique_ptr<WindowLoader> validation;
};
// Opens the job's token files and checks them against its sequence length and vocabulary.
Result<TokenLoaders> open_data(FileSystem& files, const JobFile& job);

}  // namespace leasehold
