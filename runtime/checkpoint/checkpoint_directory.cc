#include "runtime/checkpoint/checkpoint_directory.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "runtime/checkpoint/durable.h"
#include "runtime/checkpoint/manifest.h"

namespace leasehold {

namespace {

constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kTemporaryPrefix = ".tmp-";

// The names in checkpoints/; none when there is no such directory.
Result<std::vector<std::string>> names_in(FileSystem& files, const std::string& directory) {
  Result<std::vector<std::string>> names = files.list(directory);
  if (!names.ok() && names.status().code() == Code::kMissingInput)
    return std::vector<std::string>();
  return names;
}

// True when the checkpoint of `step` at `path` has a good manifest.
Result<bool> is_usable(FileSystem& files, const std::string& path, int64_t step,
                       std::set<int64_t>& usable) {
  if (usable.contains(step)) return true;
  const Result<CheckpointHandle> handle = open_checkpoint(files, path);
  const Code code = handle.status().code();
  const bool damaged = code == Code::kBadData || code == Code::kMissingInput;
  if (!handle.ok() && !damaged) return handle.status();
  const bool good = handle.ok() && handle->info.step == step;
  if (good) usable.insert(step);
  return good;
}

Status remove_content(OpenDirectory& directory) {
  LEASEHOLD_RETURN_IF_ERROR(directory.remove(kManifestName));
  LEASEHOLD_RETURN_IF_ERROR(directory.sync());
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> names, directory.list());
  for (const std::string& name : names) LEASEHOLD_RETURN_IF_ERROR(directory.remove(name));
  return directory.remove_name_if_empty();
}

// A step's directory without a manifest: a removal that was cut short, or a save by an older
// program, which renamed first.
Status remove_if_unfinished(FileSystem& files, const std::string& path) {
  const Result<std::unique_ptr<OpenDirectory>> opened = files.open_directory(path);
  if (opened.status().code() == Code::kMissingInput) return ok_status();
  if (!opened.ok()) return opened.status();
  OpenDirectory& directory = **opened;
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> content, directory.list());
  return std::ranges::binary_search(content, kManifestName) ? ok_status()
                                                            : remove_content(directory);
}

}  // namespace

std::string checkpoints_path(const std::string& run_dir) {
  return join_path(run_dir, "checkpoints");
}

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:08}", kStepPrefix, step); }

std::optional<int64_t> parse_checkpoint_name(std::string_view name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kStepPrefix.size());
  if (digits.starts_with('-')) return std::nullopt;
  int64_t step = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  if (failure != std::errc() || end != digits.data() + digits.size() ||
      checkpoint_name(step) != name) {
    return std::nullopt;
  }
  return step;
}

std::string temporary_name(int64_t step, int64_t generation) {
  return fmt::format("{}{}-g{:04}", kTemporaryPrefix, checkpoint_name(step), generation);
}

std::optional<int64_t> parse_temporary_name(std::string_view name) {
  if (!name.starts_with(kTemporaryPrefix)) return std::nullopt;
  const size_t at = name.rfind("-g");
  if (at == std::string_view::npos) return 0;
  int64_t generation = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(name.data() + at + 2, end, generation);
  return failure == std::errc() && stop == end ? generation : 0;
}

Status make_durable_directories(FileSystem& files, const std::string& path) {
  std::vector<std::string> holders;  // of a name that is missing
  for (std::string at = path; at != "/" && at != "." && !files.exists(at); at = parent_path(at)) {
    holders.push_back(parent_path(at));
  }
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(path));
  for (const std::string& holder : holders) LEASEHOLD_RETURN_IF_ERROR(files.sync_directory(holder));
  return ok_status();
}

Status remove_checkpoint(FileSystem& files, const std::string& path, int64_t generation) {
  const Result<std::unique_ptr<OpenDirectory>> opened = files.open_directory(path);
  if (opened.status().code() == Code::kMissingInput) return ok_status();
  if (!opened.ok()) return opened.status();
  OpenDirectory& directory = **opened;
  const Result<std::string> text = directory.read(kManifestName, kMaxManifestBytes);
  if (text.status().code() == Code::kStorage) return text.status();
  if (text.ok()) {
    const Result<Manifest> manifest = parse_manifest(*text, join_path(path, kManifestName));
    if (manifest.ok() && manifest->info.generation > generation) {
      return error(Code::kUnavailable, "generation {} wrote {}: generation {} leaves it as it is",
                   manifest->info.generation, path, generation);
    }
  }
  return remove_content(directory);
}

Result<CheckpointHandle> open_checkpoint(FileSystem& files, const std::string& path) {
  const std::string manifest_path = join_path(path, kManifestName);
  const Result<std::string> text = read_file(files, manifest_path, kMaxManifestBytes);
  if (!text.ok()) {
    if (text.status().code() != Code::kMissingInput) return text.status();
    return files.exists(path) ? error(Code::kMissingInput,
                                      "{}: no {}: not a checkpoint, or its save was cut short",
                                      path, kManifestName)
                              : error(Code::kMissingInput, "{}: no such checkpoint", path);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(Manifest manifest, parse_manifest(text.value(), manifest_path));
  CheckpointHandle handle;
  handle.path = path;
  handle.info = manifest.info;
  handle.manifest = std::make_shared<const Manifest>(std::move(manifest));
  return handle;
}

Result<std::vector<CheckpointHandle>> list_checkpoints(FileSystem& files,
                                                       const std::string& run_dir,
                                                       std::vector<CheckpointRejected>& rejected) {
  const std::string directory = checkpoints_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(files, directory));
  std::vector<CheckpointHandle> found;
  for (const std::string& name : names) {
    const std::optional<int64_t> step = parse_checkpoint_name(name);
    if (!step) continue;
    const std::string path = join_path(directory, name);
    Result<CheckpointHandle> handle = open_checkpoint(files, path);
    if (!handle.ok()) {
      rejected.push_back(
          {path, handle.status().message(), handle.status().code() == Code::kMissingInput});
    } else if (handle->info.step != *step) {
      rejected.push_back(
          {path, fmt::format("{}: its manifest is of step {}", path, handle->info.step)});
    } else {
      found.push_back(std::move(handle).value());
    }
  }
  std::ranges::sort(found, [](const auto& a, const auto& b) { return a.info.step > b.info.step; });
  return found;
}

Result<CheckpointHandle> open_newest_checkpoint(FileSystem& files, const std::string& path) {
  if (!files.exists(checkpoints_path(path))) return open_checkpoint(files, path);
  std::vector<CheckpointRejected> rejected;
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<CheckpointHandle> found,
                             list_checkpoints(files, path, rejected));
  if (!found.empty()) return std::move(found.front());
  std::string reasons;
  for (const CheckpointRejected& bad : rejected)
    reasons += fmt::format("\n  {}: {}", bad.path, bad.reason);
  return error(rejected.empty() ? Code::kMissingInput : Code::kBadData,
               "{} holds no usable checkpoint{}", path, reasons);
}

Status check_parameters(const CheckpointHandle& checkpoint,
                        const std::map<std::string, Shape>& expected) {
  std::vector<std::string> differences;
  for (const auto& [name, shape] : expected) {
    const StoredTensor* stored = checkpoint.manifest->find(name, StateKind::kWeight);
    if (stored == nullptr) {
      differences.push_back(fmt::format("parameter '{}' is not in it", name));
    } else if (stored->shape != shape) {
      differences.push_back(fmt::format("parameter '{}' has shape {} in it, the model {}", name,
                                        stored->shape.to_string(), shape.to_string()));
    }
  }
  for (const StoredTensor& tensor : checkpoint.manifest->tensors) {
    if (tensor.kind == StateKind::kWeight && !expected.contains(tensor.parameter)) {
      differences.push_back(
          fmt::format("parameter '{}' of it is not in the model", tensor.parameter));
    }
  }
  if (differences.empty()) return ok_status();
  std::string text;
  constexpr size_t kShown = 4;
  for (size_t i = 0; i < std::min(kShown, differences.size()); ++i) text += "\n  " + differences[i];
  if (differences.size() > kShown)
    text += fmt::format("\n  and {} more", differences.size() - kShown);
  return error(
      Code::kBadData,
      "{}: checkpoint of another model:{}\nUse the [model] that wrote it, or another run.dir",
      checkpoint.path, text);
}

Status remove_leftovers(FileSystem& files, const std::string& run_dir, int64_t generation) {
  const std::string directory = checkpoints_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(files, directory));
  for (const std::string& name : names) {
    const std::string path = join_path(directory, name);
    const std::optional<int64_t> writer = parse_temporary_name(name);
    if (writer && *writer <= generation) LEASEHOLD_RETURN_IF_ERROR(files.remove_all(path));
    if (parse_checkpoint_name(name)) LEASEHOLD_RETURN_IF_ERROR(remove_if_unfinished(files, path));
  }
  return ok_status();
}

Status remove_old_checkpoints(FileSystem& files, const std::string& run_dir,
                              const KeptCheckpoints& kept, std::set<int64_t>& usable) {
  LEASEHOLD_CHECK(kept.newest >= 1, "keep {} checkpoints", kept.newest);
  LEASEHOLD_RETURN_IF_ERROR(remove_leftovers(files, run_dir, kept.generation));
  const std::string directory = checkpoints_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<std::string> names, names_in(files, directory));
  std::vector<int64_t> steps;
  for (const std::string& name : names) {
    if (const std::optional<int64_t> step = parse_checkpoint_name(name)) steps.push_back(*step);
  }
  std::ranges::sort(steps, std::greater());
  int64_t num_kept = 0;
  for (const int64_t step : steps) {
    const std::string path = join_path(directory, checkpoint_name(step));
    if (num_kept < kept.newest) {
      LEASEHOLD_ASSIGN_OR_RETURN(const bool good, is_usable(files, path, step, usable));
      if (good) ++num_kept;
      continue;
    }
    if (kept.multiples_of > 0 && step % kept.multiples_of == 0) continue;
    const Status removed = remove_checkpoint(files, path, kept.generation);
    if (removed.code() == Code::kUnavailable) continue;  // a newer generation's
    LEASEHOLD_RETURN_IF_ERROR(removed);
    usable.erase(step);
  }
  return ok_status();
}

}  // namespace leasehold
