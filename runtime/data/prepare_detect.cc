// Telling the formats apart, and refusing what is none.
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/file_kind.h"
#include "runtime/data/input_stream.h"
#include "runtime/data/megatron_index.h"
#include "runtime/data/prepare_sources.h"
#include "runtime/data/text_check.h"
#include "runtime/data/token_file.h"

namespace leasehold {

namespace {

using enum PrepareFormat;

struct Named {
  std::string_view name;
  PrepareFormat format;
};
constexpr std::array kNames = {
    Named{"auto", kAuto},         Named{"text", kText},       Named{"bytes", kBytes},
    Named{"jsonl", kJsonLines},   Named{"parquet", kParquet}, Named{"llmc", kLlmc},
    Named{"megatron", kMegatron}, Named{"uint16", kUint16},   Named{"uint32", kUint32},
};

// Enough to tell UTF-16 without a mark, and to see a first line.
constexpr int64_t kDetectBytes = 4096;
constexpr std::string_view kParquetMagic = "PAR1";

// An input that cannot be opened is a missing input, whatever the reason.
Result<std::unique_ptr<ReadableFile>> open_input(FileSystem& files, const std::string& path,
                                                 const std::string& name) {
  auto file = files.open(path);
  if (!file.ok()) return error(Code::kMissingInput, "input {}", file.status().message());
  if (file.value()->size_bytes() == 0) {
    return error(Code::kBadData, "input {} is empty; leave it out or fill it", name);
  }
  return file;
}

bool is_llmc(std::string_view head) {
  return head.starts_with(std::string_view("\x88\xD8\x34\x01", 4)) ||  // 20240520
         head.starts_with(std::string_view("\xA1\xD9\x34\x01", 4));    // 20240801
}

bool is_text(std::string_view head) {
  TextCheck check("");
  return find_encoding(head).empty() && check.add(head).ok();
}

// A stream has no suffix: its first characters decide.
bool is_json_lines(std::string_view name, bool is_stream, std::string_view head) {
  for (const char* suffix : {".jsonl", ".ndjson", ".json"}) {
    if (name.ends_with(suffix)) return true;
  }
  if (head.starts_with(kUtf8Mark)) head.remove_prefix(kUtf8Mark.size());
  return is_stream && head.starts_with("{\"");
}

Status unknown_bin(const std::string& name, std::string_view head, int64_t size_bytes) {
  const bool text = is_text(head);
  return error(
      Code::kBadData,
      "input {} is no llm.c token file, and no .idx of Megatron's lies next to it; {}{}", name,
      size_bytes % 2 == 0
          ? "if it holds tokens and nothing else, as nanoGPT's train.bin does, say --format "
            "uint16 (or uint32) and name the tokenizer that made them"
          : "tokens without a header would have an even number of bytes",
      text ? "; say --format text if it is text" : "");
}

Result<PrepareFormat> guess(FileSystem& files, const PrepareInput& input, std::string_view head) {
  const std::string_view shown =
      input.packing ? unpacked_name(input.name) : std::string_view(input.name);
  const bool megatron =
      has_megatron_magic({reinterpret_cast<const uint8_t*>(head.data()), head.size()});
  if (is_llmc(head) || megatron || shown.ends_with(".idx")) {
    if (!input.packing) return is_llmc(head) ? kLlmc : kMegatron;
    return error(Code::kBadData, "input {} holds tokens, packed by {}; unpack it first", input.name,
                 packing_name(*input.packing));
  }
  if (shown.ends_with(".bin")) {
    const std::string index = input.path.substr(0, input.path.size() - 4) + ".idx";
    if (!input.packing && input.path.ends_with(".bin") && files.exists(index)) return kMegatron;
    LEASEHOLD_RETURN_IF_ERROR(check_file_kind(head, "input " + input.name, "tokens or text"));
    return unknown_bin(input.name, head, input.size_bytes);
  }
  const FileKind* kind = recognise_file(head);
  if (!input.packing && kind != nullptr && head.starts_with(kParquetMagic)) return kParquet;
  return is_json_lines(shown, input.path != input.name, head) ? kJsonLines : kText;
}

// Refuses what is no text in UTF-8 by its first bytes; what comes later is found on the way.
Status check_text(PrepareInput& input, std::string_view head) {
  const std::string inside =
      input.packing ? fmt::format(" (inside {})", packing_name(*input.packing)) : "";
  const bool json = input.format == kJsonLines;
  const FileKind* kind = recognise_file(head);
  if (kind != nullptr && kind->group == FileKindGroup::kMarkup && !json) {
    input.notice =
        fmt::format("input {} is {}; it is read as text, with its markup", input.name, kind->name);
    return ok_status();
  }
  if (kind != nullptr) {
    return error(
        Code::kBadData, "input {} is {}{}, not {}; {}{}", input.name, kind->name, inside,
        json ? "JSON lines" : "text", kind->way_out,
        kind->group == FileKindGroup::kStandIn ? "" : ". --format bytes takes bytes as they are");
  }
  const std::string_view encoding = find_encoding(head);
  if (!encoding.empty()) {
    return error(Code::kBadData,
                 "input {} is text in {}{}, not in UTF-8; `iconv -f {} -t UTF-8 FILE` converts it",
                 input.name, encoding, inside, iconv_name(encoding));
  }
  const size_t first = head.find_first_not_of(" \t\r\n");
  if (json && first != head.npos && head[first] == '[') {
    return error(Code::kBadData,
                 "input {} is a JSON array, not JSON lines; `jq -c '.[]' FILE` makes lines of one",
                 input.name);
  }
  return ok_status();
}

// The helper names a fault of the rest.
Status check_parquet(const PrepareInput& input, std::string_view head) {
  if (input.packing) {
    return error(Code::kBadData, "input {} is {}, not a Parquet file; unpack it first", input.name,
                 packing_name(*input.packing));
  }
  if (head.starts_with(kParquetMagic)) return ok_status();
  LEASEHOLD_RETURN_IF_ERROR(check_file_kind(head, "input " + input.name, "a Parquet file"));
  return error(Code::kBadData, "input {} is no Parquet file, which begins with {}; name its format",
               input.name, kParquetMagic);
}

Result<PrepareInput> find_megatron_pair(FileSystem& files, PrepareInput input) {
  if (!input.path.ends_with(".idx") && !input.path.ends_with(".bin")) {
    return error(Code::kBadData,
                 "input {}: a dataset of Megatron's is named by its .idx or its .bin; rename both",
                 input.name);
  }
  const std::string prefix = input.path.substr(0, input.path.size() - 4);
  input.path = prefix + ".bin";
  input.name = input.path;
  input.index_path = prefix + ".idx";
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, open_input(files, input.index_path, input.index_path));
  LEASEHOLD_ASSIGN_OR_RETURN(file, open_input(files, input.path, input.path));
  input.size_bytes = file->size_bytes();
  return input;
}

}  // namespace

int64_t fraction_cut(int64_t size, double fraction) {
  return size - static_cast<int64_t>(std::floor(fraction * static_cast<double>(size)));
}

int64_t progress_bytes(const PrepareInput& input, double validation_fraction) {
  // A packed file is read once more before, to know its size.
  return input.packing && validation_fraction > 0 ? 2 * input.size_bytes : input.size_bytes;
}

bool has_documents(PrepareFormat format) { return format == kJsonLines || format == kParquet; }

Result<PrepareFormat> parse_prepare_format(std::string_view name) {
  std::string known;
  for (const Named& entry : kNames) {
    if (entry.name == name) return entry.format;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry.name);
  }
  return error(Code::kUsage, "--format {}: there is no such format; there are {}", name, known);
}

Result<PrepareInput> detect_input(FileSystem& files, const std::string& path,
                                  const std::string& name, PrepareFormat format) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, open_input(files, path, name));
  PrepareInput input{
      .format = format, .path = path, .name = name, .size_bytes = file->size_bytes()};
  if (format == kMegatron) return find_megatron_pair(files, input);
  if (format == kBytes || format == kLlmc || format == kUint16 || format == kUint32) return input;
  LEASEHOLD_ASSIGN_OR_RETURN(std::string head, read_head(files, path, name, {}, kDetectBytes));
  input.packing = find_packing(head);
  if (input.packing) {
    LEASEHOLD_ASSIGN_OR_RETURN(head, read_head(files, path, name, input.packing, kDetectBytes));
    if (head.empty()) return error(Code::kBadData, "input {} is empty, unpacked", name);
  }
  if (format == kAuto) {
    LEASEHOLD_ASSIGN_OR_RETURN(input.format, guess(files, input, head));
    if (input.format == kMegatron) return find_megatron_pair(files, input);
    if (input.format == kLlmc) return input;
  }
  LEASEHOLD_RETURN_IF_ERROR(input.format == kParquet ? check_parquet(input, head)
                                                     : check_text(input, head));
  return input;
}

}  // namespace leasehold
