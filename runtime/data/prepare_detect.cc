// Telling the formats apart, and training from validation.
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/data/megatron_index.h"
#include "runtime/data/prepare_sources.h"
#include "runtime/data/token_file.h"

namespace leasehold {

namespace {

struct Named {
  std::string_view name;
  PrepareFormat format;
};
constexpr std::array kNames = {
    Named{"auto", PrepareFormat::kAuto},         Named{"text", PrepareFormat::kText},
    Named{"jsonl", PrepareFormat::kJsonLines},   Named{"llmc", PrepareFormat::kLlmc},
    Named{"megatron", PrepareFormat::kMegatron},
};

constexpr std::string_view kGzip("\x1F\x8B", 2), kZstd("\x28\xB5\x2F\xFD", 4),
    kXz("\xFD"
        "7zXZ",
        5);

bool is_compressed(std::string_view head) {
  return head.starts_with(kGzip) || head.starts_with(kZstd) || head.starts_with(kXz);
}

// An input that cannot be opened is a missing input, whatever the reason.
Result<std::unique_ptr<ReadableFile>> open_input(FileSystem& files, const std::string& path) {
  auto file = files.open(path);
  if (!file.ok()) return error(Code::kMissingInput, "input {}", file.status().message());
  if (file.value()->size_bytes() == 0) {
    return error(Code::kBadData, "input {} is empty; leave it out or fill it", path);
  }
  return file;
}

Result<PrepareFormat> guess(FileSystem& files, const std::string& path, ReadableFile& file) {
  std::string head(static_cast<size_t>(std::min<int64_t>(16, file.size_bytes())), '\0');
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(0, head.data(), static_cast<int64_t>(head.size())));
  const std::string_view llmc[] = {std::string_view("\x88\xD8\x34\x01", 4),   // 20240520
                                   std::string_view("\xA1\xD9\x34\x01", 4)};  // 20240801
  if (head.starts_with(llmc[0]) || head.starts_with(llmc[1])) return PrepareFormat::kLlmc;
  if (path.ends_with(".idx") ||
      has_megatron_magic({reinterpret_cast<const uint8_t*>(head.data()), head.size()})) {
    return PrepareFormat::kMegatron;
  }
  if (path.ends_with(".bin")) {
    if (files.exists(path.substr(0, path.size() - 4) + ".idx")) return PrepareFormat::kMegatron;
    return error(Code::kBadData,
                 "input {} is no llm.c token file, and no .idx of Megatron's lies beside it; say "
                 "--format text if it is text",
                 path);
  }
  if (is_compressed(head)) {
    return error(Code::kBadData, "input {} is compressed; unpack it first", path);
  }
  for (const char* suffix : {".jsonl", ".ndjson", ".json"}) {
    if (path.ends_with(suffix)) return PrepareFormat::kJsonLines;
  }
  return PrepareFormat::kText;
}

}  // namespace

int64_t fraction_cut(int64_t size, double fraction) {
  return size - static_cast<int64_t>(std::floor(fraction * static_cast<double>(size)));
}

Result<PrepareFormat> parse_prepare_format(std::string_view name) {
  std::string known;
  for (const Named& entry : kNames) {
    if (entry.name == name) return entry.format;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  return error(Code::kUsage, "--format {}: there is no such format; there are {}", name, known);
}

Result<PrepareInput> detect_input(FileSystem& files, const std::string& path,
                                  PrepareFormat format) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, open_input(files, path));
  if (format == PrepareFormat::kAuto) {
    LEASEHOLD_ASSIGN_OR_RETURN(format, guess(files, path, *file));
  }
  PrepareInput input{.format = format, .path = path, .size_bytes = file->size_bytes()};
  if (format != PrepareFormat::kMegatron) return input;
  if (!path.ends_with(".idx") && !path.ends_with(".bin")) {
    return error(Code::kBadData,
                 "input {}: a dataset of Megatron's is named by its .idx or its .bin; rename both",
                 path);
  }
  const std::string prefix = path.substr(0, path.size() - 4);
  input.path = prefix + ".bin";
  input.index_path = prefix + ".idx";
  LEASEHOLD_ASSIGN_OR_RETURN(file, open_input(files, input.index_path));
  LEASEHOLD_ASSIGN_OR_RETURN(file, open_input(files, input.path));
  input.size_bytes = file->size_bytes();
  return input;
}

}  // namespace leasehold
