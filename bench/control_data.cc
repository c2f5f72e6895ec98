// Plans control data for ranks of a world that does not exist: a step, a save and a restore of a
// model that is never allocated, with the functions and the planned communicators that training
// uses. Prints the memory and the processor seconds that each takes. bench/README.md says more.
#include <cstdio>
#include <ctime>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/counted_memory.h"
#include "bench/model_bench.h"
#include "models/gpt.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/shard_index.h"
#include "runtime/checkpoint/shard_plan.h"
#include "runtime/device/planned_device.h"
#include "runtime/tensor/kernels_cuda_sizes.h"
#include "runtime/train/engine.h"
#include "runtime/train/model_state.h"
#include "runtime/train/rank_parts.h"

namespace leasehold {

namespace {

double processor_s() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

template <typename Work>
void measure(const std::string& what, const Work& work) {
  const int64_t before = reset_peak_memory();
  const double begin_s = processor_s();
  work();
  fmt::print("{:<44} {:>9.2f} s {:>10.1f} MB\n", what, processor_s() - begin_s,
             static_cast<double>(peak_memory() - before) / 1e6);
  std::fflush(stdout);
}

struct Settings {
  ModelConfig model;
  MeshShape mesh{.data = 8, .pipeline = 16, .tensor = 8};
  int ranks = 1024;
  int64_t microbatches = 2048;
  int zero = 1;
};

// The layout of every stage, and the slices of any rank, which have no memory.
class PlannedWorld {
 public:
  PlannedWorld(const Settings& settings, int ranks) : mesh_(settings.mesh) {
    mesh_.data = ranks / (mesh_.pipeline * mesh_.tensor);
    options_.T = settings.model.sequence;
    options_.batch = {settings.microbatches, settings.microbatches};
    options_.zero_stage = settings.zero;
    source_ = gpt_source(settings.model);
    plans_ = cut_model(source_.parameters, source_.units, mesh_.pipeline).value();
    for (const ModelPart& plan : plans_)
      parts_.push_back(std::make_unique<RankPart>(plan, mesh_, options_, options_.zero_stage));
  }

  int num_ranks() const { return mesh_.num_ranks(); }

  // Slices that a rank stores, or that it needs.
  std::vector<StateSlice> slices(int rank, bool stored_alone) const {
    const MeshCoordinates at = coordinates_of(rank, mesh_);
    const RankPart& part = *parts_[static_cast<size_t>(at.pipeline)];
    std::vector<StateSlice> all;
    for (const OwnedRange& range : part.layout.owned_by(at.data)) {
      const Parameter& parameter = *part.table.all()[static_cast<size_t>(range.parameter)];
      if (stored_alone && !stores_parameter(parameter, at.tensor)) continue;
      for (const StateKind kind : kStateKinds) {
        all.push_back({.parameter = parameter.name(),
                       .kind = kind,
                       .global_shape = parameter.spec().shape,
                       .box = box_of(parameter, at.tensor),
                       .begin = range.begin,
                       .data = Tensor(&nowhere_, DType::kF32, Shape{range.count})});
      }
    }
    return all;
  }

  // Sums up what create would allocate for a rank's engine.
  std::vector<ArenaSize> forecast(int rank) const {
    const auto device = create_planned_device(DeviceKind::kCuda);
    const auto kernels = create_planned_cuda_kernels(DType::kBf16);
    Mesh mesh = Mesh::planned(mesh_, rank);
    return Engine::forecast(*device, *kernels, mesh, source_, options_).value();
  }

 private:
  static inline float nowhere_ = 0;  // slices point here; nobody reads it
  MeshShape mesh_;
  EngineOptions options_;
  ModelSource source_;
  std::vector<ModelPart> plans_;
  std::vector<std::unique_ptr<RankPart>> parts_;
};

// File of a rank but for the values: the header, and the index with digests of nothing.
struct PlannedShard {
  std::string header;
  std::string index;
  ShardPieces pieces;

  PlannedShard(const PlannedWorld& world, int rank) {
    const ShardPlan plan = ShardPlan::create_indexed(world.slices(rank, true)).value();
    header = plan.header();
    pieces = plan.describe(shard_name(rank, world.num_ranks()),
                           std::vector<Digest128>(plan.pieces().size()));
    index = encode_shard_index(pieces.tensors).value();
    pieces.file.index_digest = digest128(index.data(), index.size());
  }
};

// Files of shards without their values; the number of bytes that were read of them.
class PlannedFile : public ReadableFile {
 public:
  PlannedFile(std::shared_ptr<const PlannedShard> shard, int64_t& bytes_read)
      : shard_(std::move(shard)), bytes_read_(bytes_read) {}
  int64_t size_bytes() const override { return shard_->pieces.file.size_bytes; }
  Status read_at(int64_t offset, void* out, int64_t count) override {
    const int64_t index_begin = size_bytes() - std::ssize(shard_->index);
    const bool in_index = offset >= index_begin;
    const std::string& from = in_index ? shard_->index : shard_->header;
    from.copy(static_cast<char*>(out), static_cast<size_t>(count),
              static_cast<size_t>(in_index ? offset - index_begin : offset));
    bytes_read_ += count;
    return ok_status();
  }

 private:
  std::shared_ptr<const PlannedShard> shard_;
  int64_t& bytes_read_;
};

class PlannedFiles : public FileSystem {
 public:
  explicit PlannedFiles(const PlannedWorld& world) : world_(world) {}

  int64_t bytes_read = 0;
  size_t num_shards() const { return shards_.size(); }

  Result<std::unique_ptr<ReadableFile>> open(const std::string& path) override {
    const int rank = std::stoi(path.substr(path.rfind("shard-") + 6));
    auto& shard = shards_[rank];
    if (!shard) shard = std::make_shared<const PlannedShard>(world_, rank);
    return std::unique_ptr<ReadableFile>(std::make_unique<PlannedFile>(shard, bytes_read));
  }
  Result<std::unique_ptr<MappedFile>> map(const std::string&) override { return refusal(); }
  Result<std::unique_ptr<WritableFile>> create(const std::string&) override { return refusal(); }
  Status create_exclusive(const std::string&, std::string_view) override { return refusal(); }
  Status append_line(const std::string&, std::string_view) override { return refusal(); }
  Result<std::unique_ptr<LogFile>> open_log(const std::string&) override { return refusal(); }
  Status rename(const std::string&, const std::string&) override { return refusal(); }
  Status sync_directory(const std::string&) override { return refusal(); }
  Status make_directories(const std::string&) override { return refusal(); }
  Status remove_all(const std::string&) override { return refusal(); }
  bool exists(const std::string&) override { return false; }
  Result<std::vector<std::string>> list(const std::string&) override { return refusal(); }
  Result<std::unique_ptr<OpenDirectory>> open_directory(const std::string&) override {
    return refusal();
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string&, std::string_view) override {
    return refusal();
  }

 private:
  static Status refusal() { return error(Code::kInternal, "files that are planned are read only"); }
  const PlannedWorld& world_;
  std::map<int, std::shared_ptr<const PlannedShard>> shards_;
};

void measure_step(const PlannedWorld& world) {
  for (const int rank : {0, world.num_ranks() / 2 + 1}) {
    measure(fmt::format("step: rank {} plans its engine", rank), [&] { world.forecast(rank); });
  }
}

std::string measure_save(const PlannedWorld& world) {
  std::string own;
  measure("save: a rank plans and indexes its shard", [&] {
    const PlannedShard shard(world, world.num_ranks() / 2 + 1);
    own = encode_summary(summarize(shard.pieces)).value();
  });
  fmt::print("  it sends {} bytes to rank 0\n", own.size());
  std::vector<std::string> summaries;
  int64_t total_bytes = 0;
  for (int rank = 0; rank < world.num_ranks(); ++rank) {
    summaries.push_back(encode_summary(summarize(PlannedShard(world, rank).pieces)).value());
    total_bytes += std::ssize(summaries.back());
  }
  fmt::print("  rank 0 gathers {:.1f} MB\n", static_cast<double>(total_bytes) / 1e6);
  std::string text;
  measure("save: rank 0 makes the manifest",
          [&] { text = encode_manifest(merge_summaries({}, summaries).value()).value(); });
  fmt::print("  manifest.json has {:.1f} MB\n", static_cast<double>(text.size()) / 1e6);
  return text;
}

void measure_restore(const PlannedWorld& written, const PlannedWorld& read,
                     const std::string& manifest) {
  PlannedFiles files(written);
  const std::vector<StateSlice> wanted = read.slices(read.num_ranks() / 2 + 1, false);
  const auto plan = [&] {
    CheckpointHandle handle;
    handle.manifest =
        std::make_shared<const Manifest>(parse_manifest(manifest, "manifest.json").value());
    return CheckpointReader(files, handle).plan_reads(wanted).value().size();
  };
  size_t num_reads = plan();  // makes the files
  files.bytes_read = 0;
  measure(fmt::format("restore: a rank of {} plans its reads", read.num_ranks()),
          [&] { num_reads = plan(); });
  fmt::print("  {} pieces; headers and indexes of {} shards, {:.1f} MB\n", num_reads,
             files.num_shards(), static_cast<double>(files.bytes_read) / 1e6);
}

int run(int argc, char** argv) {
  CLI::App app("Plans control data of a world that does not exist");
  Settings settings;
  settings.model.sequence = 8192;
  add_model_options(app, settings.model);
  app.add_option("--ranks", settings.ranks)->capture_default_str();
  app.add_option("--tensor", settings.mesh.tensor)->capture_default_str();
  app.add_option("--pipeline", settings.mesh.pipeline)->capture_default_str();
  app.add_option("--zero", settings.zero)->check(CLI::Range(0, 3))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  settings.model = complete_model_config(settings.model).value();
  const PlannedWorld world(settings, settings.ranks);
  fmt::print("{} parameters on {} ranks\n", num_parameters(settings.model), world.num_ranks());
  measure_step(world);
  const std::string manifest = measure_save(world);
  measure_restore(world, world, manifest);
  measure_restore(world, PlannedWorld(settings, settings.ranks / 2), manifest);
  return 0;
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) {
  try {
    return leasehold::run(argc, argv);
  } catch (const std::exception& caught) {
    fmt::print(stderr, "control_data: {}\n", caught.what());
    return 70;
  }
}
