#include "runtime/checkpoint/shard_index.h"

#include <algorithm>
#include <functional>
#include <map>

#include "runtime/checkpoint/manifest_json.h"

namespace leasehold {

namespace {

using nlohmann::json;

constexpr int kIndexDepth = 6;    // index, tensors, tensor, pieces, piece, offset
constexpr int kSummaryDepth = 6;  // summary, tensors, tensor, boxes, box, ranges

json encode_summary_tensor(const SummaryTensor& tensor) {
  json kinds = json::array();
  for (const StateKind kind : tensor.kinds) kinds.push_back(state_kind_name(kind));
  json boxes = json::array();
  for (const SummaryBox& held : tensor.boxes) {
    json box = encode_box(held.box);
    json& ranges = box["ranges"] = json::array();
    for (const auto& [begin, end] : held.ranges) {
      ranges.push_back(begin);
      ranges.push_back(end);
    }
    boxes.push_back(std::move(box));
  }
  return {{"parameter", tensor.parameter},
          {"kinds", std::move(kinds)},
          {"shape", encode_shape(tensor.shape)},
          {"boxes", std::move(boxes)}};
}

Result<SummaryBox> parse_summary_box(const JsonCursor& at, const Shape& global) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"offset", "extent", "ranges"}));
  SummaryBox held;
  LEASEHOLD_ASSIGN_OR_RETURN(held.box, parse_box(at, global));
  const JsonCursor list = at.field("ranges");
  LEASEHOLD_ASSIGN_OR_RETURN(const std::vector<int64_t> borders, list.integers());
  bool ascending = !borders.empty() && borders.size() % 2 == 0;
  for (size_t i = 1; i < borders.size(); ++i) ascending &= borders[i - 1] < borders[i];
  if (!ascending || borders.back() > held.box.extent.num_elements())
    return list.bad("ranges ascend inside their box and do not touch");
  for (size_t i = 0; i < borders.size(); i += 2)
    held.ranges.emplace_back(borders[i], borders[i + 1]);
  return held;
}

Result<SummaryTensor> parse_summary_tensor(const JsonCursor& at) {
  LEASEHOLD_RETURN_IF_ERROR(at.expect_fields({"parameter", "kinds", "shape", "boxes"}));
  SummaryTensor tensor;
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.parameter, at.field("parameter").string());
  const JsonCursor kinds = at.field("kinds");
  LEASEHOLD_RETURN_IF_ERROR(kinds.expect_array());
  for (size_t i = 0; i < kinds.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(const StateKind kind, parse_kind(kinds.element(i)));
    if (!tensor.kinds.empty() && tensor.kinds.back() >= kind) return kinds.bad("kinds ascend");
    tensor.kinds.push_back(kind);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(tensor.shape, parse_shape(at.field("shape")));
  const JsonCursor boxes = at.field("boxes");
  LEASEHOLD_RETURN_IF_ERROR(boxes.expect_array());
  for (size_t i = 0; i < boxes.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(SummaryBox held, parse_summary_box(boxes.element(i), tensor.shape));
    tensor.boxes.push_back(std::move(held));
  }
  return tensor;
}

// The pieces of a tensor, by box, as ranges that do not touch. Overlapping ones stay apart.
std::vector<SummaryBox> ranges_of(const StoredTensor& tensor) {
  std::vector<BoxRange> ranges;
  for (const Piece& piece : tensor.pieces) ranges.push_back(piece.range);
  std::ranges::sort(ranges, box_range_less);
  std::vector<SummaryBox> boxes;
  for (const BoxRange& range : ranges) {
    if (boxes.empty() || !(boxes.back().box == range.box)) boxes.push_back({range.box, {}});
    auto& held = boxes.back().ranges;
    if (!held.empty() && held.back().second == range.begin) {
      held.back().second = range.end;
    } else {
      held.emplace_back(range.begin, range.end);
    }
  }
  return boxes;
}

struct BoxLess {
  bool operator()(const Box& a, const Box& b) const { return box_range_less({a, 0, 0}, {b, 0, 0}); }
};

// Elements of a box in a file.
struct HeldPart {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t file = 0;
  auto operator<=>(const HeldPart&) const = default;
};
using MergedBoxes = std::map<Box, std::vector<HeldPart>, BoxLess>;

// One parameter on all files. Ranks group kinds alike as a rule, and then the kinds are checked
// together.
struct MergedParameter {
  Shape shape;
  std::map<std::vector<StateKind>, MergedBoxes> groups;
};

void add_part(std::vector<HeldRun>& runs, const HeldPart& part) {
  const int64_t elements = part.end - part.begin;
  if (!runs.empty() && runs.back().elements == elements) {
    HeldRun& run = runs.back();
    if (run.count == 1 && part.file > run.first) run.stride = part.file - run.first;
    if (part.file == run.first + run.count * run.stride) {
      ++run.count;
      return;
    }
  }
  runs.push_back({elements, 1, part.file, 1});
}

Status add_summary(const ShardSummary& summary, int64_t file,
                   std::map<std::string, MergedParameter>& parameters) {
  for (const SummaryTensor& tensor : summary.tensors) {
    MergedParameter& merged =
        parameters.try_emplace(tensor.parameter, MergedParameter{tensor.shape, {}}).first->second;
    if (merged.shape != tensor.shape) {
      return error(Code::kBadData, "{} says that parameter '{}' has shape {}, another rank {}",
                   summary.file.name, tensor.parameter, tensor.shape.to_string(),
                   merged.shape.to_string());
    }
    MergedBoxes& boxes = merged.groups[tensor.kinds];
    for (const SummaryBox& held : tensor.boxes) {
      std::vector<HeldPart>& parts = boxes[held.box];
      for (const auto& [begin, end] : held.ranges) parts.push_back({begin, end, file});
    }
  }
  return ok_status();
}

// Boxes whose parts must be the whole tensor, each element once.
Result<std::vector<HeldBox>> held_boxes(const std::string& parameter, const Shape& shape,
                                        StateKind kind, MergedBoxes boxes) {
  std::vector<HeldBox> held;
  std::vector<BoxRange> whole;
  bool tiled = true;
  for (auto& [box, parts] : boxes) {
    std::ranges::sort(parts);
    HeldBox& to = held.emplace_back(HeldBox{box, {}});
    int64_t end = 0;
    for (const HeldPart& part : parts) {
      tiled = tiled && part.begin == end;
      end = part.end;
      add_part(to.runs, part);
    }
    tiled = tiled && end == box.extent.num_elements();
    whole.push_back({box, 0, box.extent.num_elements()});
  }
  Status cover = check_cover(shape, whole);
  if (cover.ok() && tiled) return held;
  if (!tiled) {  // for the words that say where
    std::vector<BoxRange> ranges;
    for (const auto& [box, parts] : boxes)
      for (const HeldPart& part : parts) ranges.push_back({box, part.begin, part.end});
    cover = check_cover(shape, ranges);
  }
  return cover.annotated(fmt::format("the ranks' slices together: '{}' of parameter '{}'",
                                     state_kind_name(kind), parameter));
}

Status add_tensors(const std::string& parameter, const MergedParameter& merged,
                   std::vector<StoredTensor>& tensors) {
  const auto all = std::vector<StateKind>(kStateKinds.begin(), kStateKinds.end());
  const bool alike = merged.groups.size() == 1 && merged.groups.begin()->first == all;
  std::vector<HeldBox> held;
  for (const StateKind kind : kStateKinds) {
    if (kind == kStateKinds.front() || !alike) {
      MergedBoxes boxes;
      for (const auto& [kinds, group] : merged.groups) {
        if (std::ranges::find(kinds, kind) == kinds.end()) continue;
        for (const auto& [box, parts] : group)
          boxes[box].insert(boxes[box].end(), parts.begin(), parts.end());
      }
      LEASEHOLD_ASSIGN_OR_RETURN(held, held_boxes(parameter, merged.shape, kind, std::move(boxes)));
    }
    tensors.push_back({parameter, kind, merged.shape, {}, held});
  }
  return ok_status();
}

}  // namespace

Result<std::string> encode_shard_index(const std::vector<StoredTensor>& tensors) {
  try {
    std::string text = json{{"tensors", encode_tensors(tensors)}}.dump();
    if (std::ssize(text) <= kMaxIndexBytes) return text;
    return error(
        Code::kStorage,
        "the index of a shard would have {} bytes, and no reader takes more than {}: write "
        "the checkpoint with more ranks",
        text.size(), kMaxIndexBytes);
  } catch (const json::exception& failure) {
    return not_utf8(failure);
  }
}

Result<std::vector<StoredTensor>> parse_shard_index(std::string_view text,
                                                    const std::string& file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, file, kIndexDepth));
  const JsonCursor top(root, file);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({"tensors"}));
  LEASEHOLD_ASSIGN_OR_RETURN(std::vector<StoredTensor> tensors,
                             parse_tensors(top.field("tensors"), 1));
  if (std::ranges::adjacent_find(tensors, std::not_fn(tensor_less)) == tensors.end())
    return tensors;
  return top.bad("tensors ascend, each once");
}

ShardSummary summarize(const ShardPieces& shard) {
  ShardSummary summary{shard.file, {}};
  for (const StoredTensor& tensor : shard.tensors) {
    SummaryTensor told{tensor.parameter, {tensor.kind}, tensor.shape, ranges_of(tensor)};
    // Tensors of a parameter follow each other.
    const auto newest =
        summary.tensors.end() - std::min<std::ptrdiff_t>(std::ssize(summary.tensors), 2);
    const auto like = std::find_if(newest, summary.tensors.end(), [&](const SummaryTensor& other) {
      return other.parameter == told.parameter && other.shape == told.shape &&
             other.boxes == told.boxes;
    });
    if (like == summary.tensors.end()) {
      summary.tensors.push_back(std::move(told));
    } else {
      like->kinds.push_back(tensor.kind);
    }
  }
  return summary;
}

Result<std::string> encode_summary(const ShardSummary& summary) {
  json tensors = json::array();
  for (const SummaryTensor& tensor : summary.tensors)
    tensors.push_back(encode_summary_tensor(tensor));
  try {
    return json{{"file", encode_file(summary.file)}, {"tensors", std::move(tensors)}}.dump();
  } catch (const json::exception& failure) {
    return not_utf8(failure);
  }
}

Result<ShardSummary> parse_summary(std::string_view text, const std::string& sender) {
  LEASEHOLD_ASSIGN_OR_RETURN(const json root, parse_strict_json(text, sender, kSummaryDepth));
  const JsonCursor top(root, sender);
  LEASEHOLD_RETURN_IF_ERROR(top.expect_fields({"file", "tensors"}));
  ShardSummary summary;
  LEASEHOLD_ASSIGN_OR_RETURN(summary.file, parse_file(top.field("file"), true));
  const JsonCursor tensors = top.field("tensors");
  LEASEHOLD_RETURN_IF_ERROR(tensors.expect_array());
  for (size_t i = 0; i < tensors.size(); ++i) {
    LEASEHOLD_ASSIGN_OR_RETURN(SummaryTensor tensor, parse_summary_tensor(tensors.element(i)));
    summary.tensors.push_back(std::move(tensor));
  }
  return summary;
}

Result<Manifest> merge_summaries(const CheckpointInfo& info,
                                 const std::vector<std::string>& encoded) {
  Manifest manifest{.version = 2, .info = info};
  std::map<std::string, MergedParameter> parameters;
  for (const std::string& text : encoded) {
    const int64_t file = std::ssize(manifest.files);
    LEASEHOLD_ASSIGN_OR_RETURN(ShardSummary summary,
                               parse_summary(text, fmt::format("what rank {} has written", file)));
    LEASEHOLD_RETURN_IF_ERROR(add_summary(summary, file, parameters));
    manifest.files.push_back(std::move(summary.file));
  }
  for (const auto& [parameter, merged] : parameters)
    LEASEHOLD_RETURN_IF_ERROR(add_tensors(parameter, merged, manifest.tensors));
  return manifest;
}

}  // namespace leasehold
