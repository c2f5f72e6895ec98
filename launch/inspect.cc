#include "launch/inspect.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/state_digest.h"
#include "runtime/tensor/algorithm_choices.h"

namespace leasehold {

namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxProblems = 20;

// The findings about one checkpoint's directory.
struct Report {
  std::string path;
  CheckpointInfo info;  // empty without a readable manifest
  std::shared_ptr<const Manifest> manifest;
  std::string state_digest;
  std::vector<std::string> problems;
  AlgorithmChoices algorithms;  // parsed from info
};

int64_t num_pieces(const Manifest& manifest) {
  int64_t count = 0;
  for (const ShardFile& file : manifest.files) count += file.num_pieces;
  for (const StoredTensor& tensor : manifest.tensors) count += std::ssize(tensor.pieces);
  return count;
}

int64_t num_elements(const Manifest& manifest) {
  int64_t count = 0;
  for (const StoredTensor& tensor : manifest.tensors) {
    if (tensor.kind == StateKind::kWeight) count += tensor.shape.num_elements();
  }
  return count;
}

int64_t size_bytes(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const ShardFile& file : manifest.files) bytes += file.size_bytes;
  return bytes;
}

// Adds a message for each damaged piece to `problems`. A message about a whole file comes once.
// Fails with any code but kBadData.
Status find_problems(FileSystem& files, const CheckpointHandle& checkpoint,
                     std::vector<std::string>& problems) {
  CheckpointReader reader(files, checkpoint);
  Status failure;
  reader.for_each_piece([&](const Result<Piece>& piece) {
    const Status status = piece.ok() ? reader.read(*piece).status() : piece.status();
    if (status.ok()) return true;
    if (status.code() != Code::kBadData) {
      failure = status;
      return false;
    }
    if (std::ranges::find(problems, status.message()) == problems.end())
      problems.push_back(status.message());
    if (problems.size() < kMaxProblems) return true;
    problems.emplace_back("(and possibly more)");
    return false;
  });
  return failure;
}

// Inspects one checkpoint. Damage goes into the report; the only failure is kStorage.
Result<Report> look_at(FileSystem& files, const CheckpointHandle& checkpoint) {
  Report report = {checkpoint.path, checkpoint.info, checkpoint.manifest, "", {}, {}};
  LEASEHOLD_ASSIGN_OR_RETURN(report.algorithms,
                             AlgorithmChoices::parse(checkpoint.info.algorithms));
  // The digest covers every piece, so a checkpoint that has one is whole.
  const Result<Digest128> digest = state_digest(files, checkpoint);
  if (digest.ok()) {
    report.state_digest = digest.value().to_hex();
    return report;
  }
  if (digest.status().code() != Code::kBadData) return digest.status();
  LEASEHOLD_RETURN_IF_ERROR(find_problems(files, checkpoint, report.problems));
  if (report.problems.empty()) report.problems.push_back(digest.status().message());
  return report;
}

ordered_json to_json(const Report& report) {
  ordered_json object = {{"path", report.path}, {"good", report.problems.empty()}};
  if (report.manifest != nullptr) {
    const Manifest& manifest = *report.manifest;
    object["step"] = report.info.step;
    object["state_digest"] =
        report.problems.empty() ? ordered_json(report.state_digest) : ordered_json(nullptr);
    object["lineage"] = report.info.lineage;
    object["parent_lineage"] = report.info.parent_lineage;
    object["fork_step"] = report.info.fork_step;
    object["generation"] = report.info.generation;
    object["seed"] = report.info.seed;
    object["data_position"] = report.info.data_position;
    object["ranks"] = manifest.files.size();
    object["parameters"] = manifest.num_parameters();
    object["elements"] = num_elements(manifest);
    object["pieces"] = num_pieces(manifest);
    object["size_bytes"] = size_bytes(manifest);
    for (const ShardFile& file : manifest.files) {
      object["files"].push_back({{"name", file.name}, {"size_bytes", file.size_bytes}});
    }
    object["model"] = report.info.model;
    object["identity"] = report.info.identity;
    if (!report.info.cpu_kernels.empty()) object["cpu_kernels"] = report.info.cpu_kernels;
    for (const auto& [library, products] : report.algorithms.by_library())
      object["algorithms"][library] = products;
  }
  object["problems"] = report.problems;
  return object;
}

std::string to_text(const Report& report) {
  std::string text =
      fmt::format("{}: {}\n", report.path, report.problems.empty() ? "good" : "DAMAGED");
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("  {:<14}{}\n", name, value);
  };
  if (report.manifest != nullptr) {
    const Manifest& manifest = *report.manifest;
    line("step", std::to_string(report.info.step));
    line("lineage", report.info.parent_lineage.empty()
                        ? report.info.lineage
                        : fmt::format("{} (forked from {} at step {})", report.info.lineage,
                                      report.info.parent_lineage, report.info.fork_step));
    line("generation", std::to_string(report.info.generation));
    line("seed", std::to_string(report.info.seed));
    line("data position", std::to_string(report.info.data_position));
    line("layout", fmt::format("written by {} rank(s), {} pieces", manifest.files.size(),
                               num_pieces(manifest)));
    line("size", fmt::format("{} bytes", size_bytes(manifest)));
    line("parameters",
         fmt::format("{} ({} elements)", manifest.num_parameters(), num_elements(manifest)));
    for (const auto& [library, products] : report.algorithms.by_library())
      line("algorithms", fmt::format("of {} products, by {}", products.size(), library));
    if (!report.info.cpu_kernels.empty())
      line("cpu kernels", report.info.cpu_kernels + " of OpenBLAS");
    if (report.problems.empty()) line("state_digest", report.state_digest);
  }
  for (const std::string& problem : report.problems) line("problem", problem);
  return text;
}

Inspection render(const std::vector<Report>& reports, const InspectOptions& options) {
  Inspection inspection;
  ordered_json list = ordered_json::array();
  size_t num_damaged = 0;
  for (const Report& report : reports) {
    if (!options.json) inspection.output += to_text(report);
    if (options.json) list.push_back(to_json(report));
    if (!report.problems.empty()) ++num_damaged;
  }
  if (options.json) {
    const ordered_json& root = options.all ? list : list.front();
    inspection.output = root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  if (num_damaged > 0) {
    inspection.status =
        error(Code::kBadData, "{} of {} inspected checkpoints are damaged; see above", num_damaged,
              reports.size());
  }
  return inspection;
}

std::string last_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// A directory that may be a checkpoint: its manifest, or the reason why that cannot be read.
struct Candidate {
  int64_t step = 0;
  std::string path;
  std::string reason;
  CheckpointHandle handle;
};

// Returns the checkpoints of a run.dir, newest first. Leaves out interrupted saves, which never
// became checkpoints.
Result<std::vector<Candidate>> candidates_of(FileSystem& files, const std::string& run_dir) {
  std::vector<CheckpointRejected> rejected;
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<CheckpointHandle> handles,
                             list_checkpoints(files, run_dir, rejected));
  std::vector<Candidate> candidates;
  for (CheckpointHandle& handle : handles) {
    const std::string path = handle.path;
    candidates.push_back({handle.info.step, path, "", std::move(handle)});
  }
  for (const CheckpointRejected& entry : rejected) {
    const std::optional<int64_t> step = parse_checkpoint_name(last_name(entry.path));
    if (!entry.unfinished && step) candidates.push_back({*step, entry.path, entry.reason, {}});
  }
  std::ranges::sort(candidates,
                    [](const Candidate& a, const Candidate& b) { return a.step > b.step; });
  return candidates;
}

Result<std::vector<Candidate>> candidates_at(FileSystem& files, const std::string& path) {
  if (!parse_checkpoint_name(last_name(path)) && files.exists(checkpoints_path(path))) {
    return candidates_of(files, path);
  }
  Result<CheckpointHandle> handle = open_checkpoint(files, path);
  if (handle.ok())
    return std::vector<Candidate>{{handle->info.step, path, "", std::move(handle).value()}};
  if (handle.status().code() != Code::kBadData) return handle.status();
  return std::vector<Candidate>{{0, path, handle.status().message(), {}}};
}

}  // namespace

Inspection inspect(FileSystem& files, const std::string& path, const InspectOptions& options) {
  std::string directory = path;
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  Result<std::vector<Candidate>> candidates = candidates_at(files, directory);
  if (!candidates.ok()) return {"", candidates.status()};
  if (candidates->empty())
    return {"", error(Code::kMissingInput, "{}: it holds no checkpoint yet", directory)};
  if (!options.all) candidates->resize(1);
  std::vector<Report> reports;
  for (const Candidate& candidate : *candidates) {
    if (!candidate.reason.empty()) {
      reports.push_back({candidate.path, {}, nullptr, "", {candidate.reason}, {}});
      continue;
    }
    Result<Report> report = look_at(files, candidate.handle);
    if (!report.ok()) return {"", report.status()};
    reports.push_back(std::move(report).value());
  }
  return render(reports, options);
}

}  // namespace leasehold
