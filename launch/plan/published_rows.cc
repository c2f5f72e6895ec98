#include "launch/plan/published_rows.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <set>

#include "launch/plan/table_cells.h"

namespace leasehold {

namespace {

constexpr int64_t kMostCounted = int64_t{1} << 24;
constexpr int64_t kMostStages = 1024;               // of a pipeline, with their chunks
constexpr int64_t kMostActions = int64_t{1} << 22;  // of a schedule that is executed

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool holds(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Families whose mlp has a gate (SwiGLU).
bool is_gated(const std::string& model, int64_t hidden, int64_t ffn) {
  for (const char* family : {"llama", "qwen", "mistral", "gemma", "olmo", "deepseek", "yi-"}) {
    if (holds(model, family)) return true;
  }
  return ffn != 4 * hidden && !holds(model, "gpt") && !holds(model, "nemotron") &&
         !holds(model, "mpt");
}

Result<int64_t> count_of(const TableCells& cells, const char* column,
                         std::optional<int64_t> missing) {
  const std::string_view text = cells.at(column);
  if (text.empty()) {
    if (missing) return *missing;
    return error(Code::kBadData, "{} is empty: write it, the step cannot be told without", column);
  }
  int64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size() || number < 1 ||
      number > kMostCounted) {
    return error(Code::kBadData, "{} is '{}': write a whole number from 1 to {}", column, text,
                 kMostCounted);
  }
  return number;
}

Result<std::optional<double>> seconds_of(const TableCells& cells, const char* column) {
  const std::string_view text = cells.at(column);
  if (text.empty()) return std::optional<double>();
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(number) ||
      number <= 0) {
    return error(Code::kBadData, "{} is '{}': write a number above 0", column, text);
  }
  return std::optional(number);
}

Result<ModelShape> read_model(const TableCells& cells) {
  ModelShape model;
  const auto need = [&](const char* column) { return count_of(cells, column, std::nullopt); };
  LEASEHOLD_ASSIGN_OR_RETURN(model.layers, need("layers"));
  LEASEHOLD_ASSIGN_OR_RETURN(model.hidden, need("hidden"));
  LEASEHOLD_ASSIGN_OR_RETURN(model.heads, need("heads"));
  LEASEHOLD_ASSIGN_OR_RETURN(model.vocab, need("vocab"));
  LEASEHOLD_ASSIGN_OR_RETURN(model.sequence, need("seq"));
  LEASEHOLD_ASSIGN_OR_RETURN(model.kv_heads, count_of(cells, "kv_heads", model.heads));
  LEASEHOLD_ASSIGN_OR_RETURN(model.ffn, count_of(cells, "ffn", 4 * model.hidden));
  const std::string name = lower(cells.at("model"));
  const int64_t usual =
      holds(name, "qwen3") ? 128 : std::max<int64_t>(1, model.hidden / model.heads);
  LEASEHOLD_ASSIGN_OR_RETURN(model.head_dim, count_of(cells, "head_dim", usual));
  model.gated = is_gated(name, model.hidden, model.ffn);
  return model;
}

Recomputing recomputing_of(const std::string& text, Sharding sharding,
                           std::vector<std::string>& notices) {
  if (text.empty() || text == "-") return Recomputing::kUnknown;
  if (text == "none" || text == "no") return Recomputing::kNothing;
  if (text.starts_with("full") || text.starts_with("block")) return Recomputing::kLayers;
  if (text.starts_with("sel")) {
    return sharding == Sharding::kWeights ? Recomputing::kHalf : Recomputing::kAttention;
  }
  if (text.starts_with("attention") || text.starts_with("core")) return Recomputing::kAttention;
  notices.push_back(fmt::format(
      "recompute '{}' is none of none, attention, selective, full and block: taken as unknown",
      text));
  return Recomputing::kUnknown;
}

Status read_sharding(const TableCells& cells, StepQuestion& question,
                     std::vector<std::string>& notices) {
  const std::string text = lower(cells.at("zero"));
  if (text == "ddp" || text == "z0" || text == "0") {
    question.sharding = Sharding::kNothing;
  } else if (text.empty() || text == "-" || text == "z1" || text == "1") {
    question.sharding = Sharding::kOptimizer;
  } else if (text == "z2" || text == "2") {
    question.sharding = Sharding::kGradients;
  } else if (text == "z3" || text == "3" || text.starts_with("fsdp") || text.starts_with("hsdp")) {
    question.sharding = Sharding::kWeights;
    const size_t digits = text.find_first_of("0123456789");
    if (text.size() > 3 && digits != std::string::npos) {
      int64_t ranks = 0;
      std::from_chars(text.data() + digits, text.data() + text.size(), ranks);
      if (ranks > 0) question.shard_ranks = std::min(ranks, question.replicas());
    }
  } else {
    notices.push_back(
        fmt::format("zero '{}' is none of ddp, z1, z2, z3, fsdp and fsdpN: taken as z1", text));
  }
  return ok_status();
}

// Interleaved stages whose table does not say how many chunks they have: as many as leave two
// layers in each.
int64_t usual_chunks(int64_t layers, int64_t pipeline) {
  if (pipeline == 1 || layers % pipeline != 0) return 1;
  const int64_t of_stage = layers / pipeline;
  for (int64_t chunks = of_stage / 2; chunks > 1; --chunks) {
    if (of_stage % chunks == 0) return chunks;
  }
  return 1;
}

Status read_layout(const TableCells& cells, PublishedRow& row) {
  StepQuestion& question = row.question;
  LEASEHOLD_ASSIGN_OR_RETURN(row.num_slots, count_of(cells, "num_gpus", std::nullopt));
  LEASEHOLD_ASSIGN_OR_RETURN(question.tensor, count_of(cells, "tp", 1));
  LEASEHOLD_ASSIGN_OR_RETURN(question.pipeline, count_of(cells, "pp", 1));
  LEASEHOLD_ASSIGN_OR_RETURN(question.context, count_of(cells, "cp", 1));
  LEASEHOLD_ASSIGN_OR_RETURN(
      question.chunks,
      count_of(cells, "vpp", usual_chunks(question.model.layers, question.pipeline)));
  const double ranks_of_copy = static_cast<double>(question.tensor) *
                               static_cast<double>(question.pipeline) *
                               static_cast<double>(question.context);
  const int64_t copy =
      static_cast<int64_t>(std::min(ranks_of_copy, static_cast<double>(row.num_slots) + 1));
  if (row.num_slots % copy != 0) {
    return error(Code::kBadData,
                 "tp {} x pp {} x cp {} does not divide num_gpus {}: one of them is wrong",
                 question.tensor, question.pipeline, question.context, row.num_slots);
  }
  question.data = row.num_slots / copy;
  const ModelShape& model = question.model;
  if (question.tensor > std::min({model.heads * model.head_dim, model.ffn, model.vocab})) {
    return error(Code::kBadData, "tp {} cuts channels, ffn or vocab into nothing", question.tensor);
  }
  if (question.context > model.sequence) {
    return error(Code::kBadData, "cp {} cuts a sequence of {} into nothing", question.context,
                 model.sequence);
  }
  if (question.pipeline == 1) question.chunks = 1;
  if (question.pipeline * question.chunks > kMostStages) {
    return error(Code::kBadData, "pp {} x vpp {} is more than {} parts of a model",
                 question.pipeline, question.chunks, kMostStages);
  }
  return ok_status();
}

Status read_batch(const TableCells& cells, PublishedRow& row) {
  StepQuestion& question = row.question;
  LEASEHOLD_ASSIGN_OR_RETURN(question.microbatch, count_of(cells, "mbs", 1));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t sequences, count_of(cells, "gbs", std::nullopt));
  const int64_t of_rank = (sequences + question.data - 1) / question.data;
  question.microbatch = std::min(question.microbatch, of_rank);
  question.microbatches = (of_rank + question.microbatch - 1) / question.microbatch;
  if (question.microbatches * question.pipeline * question.chunks > kMostActions) {
    return error(Code::kBadData, "{} microbatches over {} parts of a pipeline are too many",
                 question.microbatches, question.pipeline * question.chunks);
  }
  return ok_status();
}

Status read_measured(const TableCells& cells, PublishedRow& row) {
  for (const char* column : {"step_norm_s", "step_s"}) {
    LEASEHOLD_ASSIGN_OR_RETURN(const auto seconds, seconds_of(cells, column));
    if (!row.step_s) row.step_s = seconds;
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokens_s, seconds_of(cells, "tok_s_gpu"));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t sequences, count_of(cells, "gbs", std::nullopt));
  if (!row.step_s && tokens_s) {
    row.step_s = static_cast<double>(sequences * row.question.model.sequence) /
                 (*tokens_s * static_cast<double>(row.num_slots));
  }
  return ok_status();
}

Status read_row(const TableCells& cells, PublishedRow& row) {
  const std::string family = lower(cells.at("family"));
  if (!family.empty() && family != "dense") {
    return error(Code::kBadData, "family '{}' is not covered: dense transformers are", family);
  }
  if (!cells.at("ep").empty() && cells.at("ep") != "1") {
    return error(Code::kBadData, "ep {}: experts are not covered", cells.at("ep"));
  }
  const auto precision = parse_precision(cells.at("precision"));
  if (!precision) {
    return error(Code::kBadData, "precision is '{}': write fp32, bf16, fp16, fp8, mxfp8 or nvfp4",
                 cells.at("precision"));
  }
  row.question.precision = *precision;
  LEASEHOLD_ASSIGN_OR_RETURN(row.question.model, read_model(cells));
  LEASEHOLD_RETURN_IF_ERROR(read_layout(cells, row));
  LEASEHOLD_RETURN_IF_ERROR(read_sharding(cells, row.question, row.notices));
  LEASEHOLD_RETURN_IF_ERROR(read_batch(cells, row));
  LEASEHOLD_RETURN_IF_ERROR(read_measured(cells, row));
  row.question.recomputing =
      recomputing_of(lower(cells.at("recompute")), row.question.sharding, row.notices);
  row.question.software = software_of(cells.at("date"));
  // Programs that shard weights use PyTorch or JAX, which leave out what nobody needs.
  row.question.software.recomputes_last_product = row.question.sharding != Sharding::kWeights;
  return ok_status();
}

// The part of a row. Tables write H100 for the one with HBM2e and 500 W too, and say so in a note.
std::string part_of(const TableCells& cells) {
  const std::string_view part = cells.at("gpu");
  const std::string_view note = cells.at("note");
  const bool is_slower = holds(note, "HBM2e") || holds(note, "500 W") || holds(note, "500W");
  return part == "H100" && is_slower ? "H100-HBM2e" : std::string(part);
}

// Months since the year 0, from the start of a date; nothing where there is no year.
std::optional<int64_t> month_of(std::string_view date) {
  if (date.starts_with('v')) date.remove_prefix(1);
  const auto number = [](std::string_view text) {
    int64_t value = -1;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    return problem == std::errc() && end == text.data() + text.size() ? value : -1;
  };
  const std::string_view year_text = date.substr(0, date.find_first_of(".-"));
  const int64_t year = number(year_text);
  if (year < 0 || (year_text.size() != 2 && year_text.size() != 4)) return std::nullopt;
  const int64_t full_year = year_text.size() == 2 ? 2000 + year : year;
  std::string_view rest = date.substr(std::min(date.size(), year_text.size() + 1));
  const int64_t month = number(rest.substr(0, rest.find_first_of(".-")));
  if (month >= 1 && month <= 12) return full_year * 12 + month - 1;
  return full_year * 12 + (month > 12 ? 6 : 0);  // "2023-24": from the middle of the first year
}

}  // namespace

Software software_of(std::string_view date) {
  const auto month = month_of(date);
  const auto january = [](int64_t year) { return year * 12; };
  Software software;
  if (!month || *month >= january(2024) + 6) return software;
  if (*month >= january(2024)) {
    software.attention = AttentionKernel::kFlash2;
  } else if (*month >= january(2023)) {
    software.attention = AttentionKernel::kFlash1;
  } else {
    software = {
        .attention = AttentionKernel::kUnfused, .overlaps = false, .overlaps_tensor = false};
  }
  return software;
}

Result<PublishedRows> parse_published_rows(std::string_view text, const std::string& path) {
  static constexpr const char* kNeeded[] = {"id",     "gpu",   "num_gpus", "precision", "layers",
                                            "hidden", "heads", "vocab",    "seq",       "gbs"};
  LEASEHOLD_ASSIGN_OR_RETURN(const Table table, read_table(text, path));
  for (const char* column : kNeeded) {
    if (table.columns.contains(column)) continue;
    return error(Code::kBadData, "{}:1: there is no column '{}'; needed are {}", path, column,
                 fmt::join(kNeeded, ", "));
  }
  PublishedRows result;
  std::set<std::string_view> ids;
  for (const TableLine& line : table.lines) {
    const TableCells cells(table, line);
    PublishedRow row;
    row.line = line.number;
    row.id = cells.at("id");
    row.source = cells.at("source");
    row.part = part_of(cells);
    if (row.id.empty()) return error(Code::kBadData, "{}:{}: id is empty", path, line.number);
    if (!ids.insert(cells.at("id")).second) {
      return error(Code::kBadData, "{}:{}: id '{}' stands twice", path, line.number, row.id);
    }
    const Status read = read_row(cells, row);
    if (read.ok()) {
      result.rows.push_back(std::move(row));
    } else {
      result.refused.push_back(
          {row.id, read.annotated(fmt::format("{}:{}: {}", path, line.number, row.id))});
    }
  }
  return result;
}

}  // namespace leasehold
