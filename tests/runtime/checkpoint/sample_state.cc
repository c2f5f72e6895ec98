#include "tests/runtime/checkpoint/sample_state.h"

#include <algorithm>
#include <thread>

#include "collectives/self.h"
#include "collectives/threads.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

namespace {

constexpr double kTimeoutS = 60;

// Index in the whole tensor of element `e` of the box.
int64_t global_index(int64_t e, const Box& box, const Shape& global) {
  int64_t index = 0;
  int64_t stride = 1;
  for (int dim = global.num_dims() - 1; dim >= 0; --dim) {
    index += (box.offset[static_cast<size_t>(dim)] + e % box.extent[dim]) * stride;
    e /= box.extent[dim];
    stride *= global[dim];
  }
  return index;
}

// 0 = cuts[0] <= ... <= cuts[parts] = size.
std::vector<int64_t> random_cuts(int64_t size, int parts, std::mt19937_64& random) {
  std::vector<int64_t> cuts = {0, size};
  for (int i = 1; i < parts; ++i)
    cuts.push_back(static_cast<int64_t>(random() % static_cast<uint64_t>(size + 1)));
  std::ranges::sort(cuts);
  return cuts;
}

std::vector<Box> random_boxes(const Shape& shape, int num_ranks, std::mt19937_64& random) {
  std::vector<std::pair<int, int64_t>> choices = {{0, 1}};  // (dim, degree)
  for (int dim = 0; dim < shape.num_dims(); ++dim) {
    for (int degree = 2; degree <= num_ranks; ++degree) {
      if (num_ranks % degree == 0 && shape[dim] % degree == 0) choices.emplace_back(dim, degree);
    }
  }
  const auto [dim, degree] = choices[random() % choices.size()];
  std::vector<Box> boxes;
  for (int64_t part = 0; part < degree; ++part) {
    std::vector<int64_t> extents(shape.extents().begin(), shape.extents().end());
    Box box;
    if (degree > 1) {
      extents[static_cast<size_t>(dim)] /= degree;
      box.offset[static_cast<size_t>(dim)] = part * extents[static_cast<size_t>(dim)];
    }
    box.extent = Shape(extents);
    boxes.push_back(box);
  }
  return boxes;
}

}  // namespace

std::map<std::string, Shape> sample_shapes() {
  return {{"blocks.0.attention.qkv.weight", {2, 3, 4, 6}},
          {"blocks.0.mlp.gate_up.weight", {2, 8, 6}},
          {"blocks.0.norm.weight", {6}},
          {"embedding.weight", {13, 6}},
          {"five", {2, 3, 2, 2, 3}},
          {"scalar", {}}};
}

SampleState random_state(const std::map<std::string, Shape>& shapes, uint64_t seed) {
  std::mt19937_64 random(seed);
  SampleState state;
  for (const auto& [name, shape] : shapes) {
    for (const StateKind kind : kStateKinds) {
      SampleTensor tensor = {shape, std::vector<float>(static_cast<size_t>(shape.num_elements()))};
      for (float& element : tensor.elements)
        element = static_cast<float>(random() % 100000) / 1024.0f - 20.0f;
      state[{name, kind}] = std::move(tensor);
    }
  }
  return state;
}

void RankSlices::add(const std::string& parameter, StateKind kind, const Shape& global,
                     const BoxRange& range) {
  memory.push_back(std::make_unique<std::vector<float>>(static_cast<size_t>(range.count())));
  slices.push_back({parameter, kind, global, range.box, range.begin,
                    Tensor(memory.back()->data(), DType::kF32, Shape{range.count()})});
}

RankSlices whole_slices(const std::map<std::string, Shape>& shapes) {
  RankSlices all;
  for (const auto& [name, shape] : shapes) {
    for (const StateKind kind : kStateKinds)
      all.add(name, kind, shape, {Box::whole(shape), 0, shape.num_elements()});
  }
  return all;
}

std::vector<RankSlices> random_layout(const std::map<std::string, Shape>& shapes, int num_ranks,
                                      std::mt19937_64& random) {
  std::vector<RankSlices> ranks(static_cast<size_t>(num_ranks));
  for (const auto& [name, shape] : shapes) {
    for (const StateKind kind : kStateKinds) {
      const std::vector<Box> boxes = random_boxes(shape, num_ranks, random);
      const int sharing = num_ranks / static_cast<int>(boxes.size());
      for (size_t b = 0; b < boxes.size(); ++b) {
        const std::vector<int64_t> cuts =
            random_cuts(boxes[b].extent.num_elements(), sharing, random);
        for (int part = 0; part < sharing; ++part) {
          const auto p = static_cast<size_t>(part);
          ranks[b * static_cast<size_t>(sharing) + p].add(name, kind, shape,
                                                          {boxes[b], cuts[p], cuts[p + 1]});
        }
      }
    }
  }
  return ranks;
}

void copy_in(const SampleState& state, RankSlices& rank) {
  for (StateSlice& slice : rank.slices) {
    const SampleTensor& tensor = state.at({slice.parameter, slice.kind});
    for (int64_t i = 0; i < slice.data.num_elements(); ++i) {
      slice.data.as<float>()[i] = tensor.elements[static_cast<size_t>(
          global_index(slice.begin + i, slice.box, tensor.shape))];
    }
  }
}

void copy_out(const RankSlices& rank, SampleState& state) {
  for (const StateSlice& slice : rank.slices) {
    SampleTensor& tensor = state[{slice.parameter, slice.kind}];
    tensor.shape = slice.global_shape;
    tensor.elements.resize(static_cast<size_t>(tensor.shape.num_elements()));
    for (int64_t i = 0; i < slice.data.num_elements(); ++i) {
      tensor.elements[static_cast<size_t>(global_index(slice.begin + i, slice.box, tensor.shape))] =
          slice.data.as<float>()[i];
    }
  }
}

CheckpointInfo sample_info(int64_t step) {
  CheckpointInfo info;
  info.step = step;
  info.seed = 0xfedcba9876543210;
  info.data_position = static_cast<uint64_t>(step) * 8;
  info.lineage = "0123456789abcdef0123456789abcdef";
  info.generation = 1;
  info.identity = {{"batch.sequences", "8"}, {"optimizer.lr", "0.001"}};
  info.model = {{"family", "gpt2"}, {"hidden", "6"}};
  info.tokenizer_json = "{\"kind\": \"byte\"}\n";
  info.arithmetic_class = "x86-64-v3";
  info.metrics_line = "{\"step\": 1}";
  return info;
}

std::vector<Status> save_on_ranks(FileSystem& files, const std::string& run_dir,
                                  const CheckpointInfo& info,
                                  const std::vector<RankSlices>& ranks) {
  std::vector<Status> statuses(ranks.size(), error(Code::kInternal, "did not run"));
  ThreadWorldOptions options;
  options.timeout_s = kTimeoutS;
  run_ranks(static_cast<int>(ranks.size()), options, [&](Communicator& world) {
    const auto device = CpuDevice::create({});
    const auto stream = device->create_stream("save").value();
    const auto rank = static_cast<size_t>(world.rank());
    FileWork work(files, {});
    statuses[rank] = save_checkpoint(work, run_dir, info, ranks[rank].slices, world, *stream);
  });
  return statuses;
}

Status save_whole(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info,
                  const SampleState& state) {
  std::map<std::string, Shape> shapes;
  for (const auto& [key, tensor] : state) shapes.emplace(key.first, tensor.shape);
  RankSlices all = whole_slices(shapes);
  copy_in(state, all);
  const auto device = CpuDevice::create({});
  const auto stream = device->create_stream("save").value();
  const auto world = create_self_communicator("world");
  FileWork work(files, {});
  return save_checkpoint(work, run_dir, info, all.slices, *world, *stream);
}

Result<SampleState> load_whole(FileSystem& files, const CheckpointHandle& checkpoint) {
  std::map<std::string, Shape> shapes;
  for (const StoredTensor& tensor : checkpoint.manifest->tensors)
    shapes.emplace(tensor.parameter, tensor.shape);
  const RankSlices all = whole_slices(shapes);
  LEASEHOLD_RETURN_IF_ERROR(load_checkpoint(files, checkpoint, all.slices));
  SampleState state;
  copy_out(all, state);
  return state;
}

Result<SampleState> load_whole(FileSystem& files, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(const CheckpointHandle handle, open_checkpoint(files, path));
  return load_whole(files, handle);
}

Result<FoundState> load_newest_good(FileSystem& files, const std::string& run_dir) {
  std::vector<CheckpointRejected> rejected;
  LEASEHOLD_ASSIGN_OR_RETURN(const auto handles, list_checkpoints(files, run_dir, rejected));
  for (const CheckpointHandle& handle : handles) {
    Result<SampleState> state = load_whole(files, handle);
    if (state.ok()) return FoundState{handle.info.step, std::move(state).value()};
  }
  return error(Code::kMissingInput, "no good checkpoint in {}", run_dir);
}

}  // namespace leasehold
