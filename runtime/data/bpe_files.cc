// Reads vocab.json and merges.txt, and writes tokenizer.json from them.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/base/file_kind.h"
#include "runtime/base/json_reader.h"
#include "runtime/data/bpe_tokenizer.h"
#include "runtime/data/split_pattern.h"

namespace leasehold {

namespace {

constexpr int kBpeJsonDepth = 32;
constexpr std::string_view kEndOfText = "<|endoftext|>";

using OrderedJson = nlohmann::ordered_json;

OrderedJson write_vocab(const BpeSource& source) {
  std::vector<std::pair<std::string, int64_t>> sorted = source.vocab;
  std::ranges::sort(sorted, {}, &std::pair<std::string, int64_t>::second);
  // Built as a whole: adding keys one by one would search through all earlier ones.
  OrderedJson::object_t entries;
  entries.reserve(sorted.size());
  for (const auto& [token, id] : sorted) {
    static_cast<OrderedJson::object_t::Container&>(entries).emplace_back(token, id);
  }
  return entries;
}

OrderedJson write_added(const std::vector<AddedToken>& added) {
  OrderedJson list = OrderedJson::array();
  for (const AddedToken& token : added) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", false},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

OrderedJson write_byte_level(bool use_regex, bool add_prefix_space) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

// Writes the pre-tokenizer. ByteLevel applies GPT-2's pattern itself.
OrderedJson write_pre_tokenizer(const std::vector<SplitStage>& stages, bool add_prefix_space) {
  if (stages.size() == 1 && stages[0].pattern == kGpt2Pattern)
    return write_byte_level(true, add_prefix_space);
  OrderedJson parts = OrderedJson::array();
  for (const SplitStage& stage : stages) {
    parts.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", stage.pattern}}},
                     {"behavior", split_behavior_name(stage.behavior)},
                     {"invert", stage.invert}});
  }
  parts.push_back(write_byte_level(false, add_prefix_space));
  return {{"type", "Sequence"}, {"pretokenizers", parts}};
}

}  // namespace

Status read_bpe_vocab(const JsonCursor& cursor, const nlohmann::json& value, BpeSource& source) {
  if (!value.is_object()) return cursor.bad("an object of tokens and ids is expected");
  source.vocab.reserve(value.size());
  for (const auto& [token, id] : value.items()) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT64_MAX)) {
      return cursor.bad(fmt::format("the id of '{}' is no integer", token));
    }
    source.vocab.emplace_back(token, id.get<int64_t>());
  }
  return ok_status();
}

bool split_bpe_merge(std::string_view line, BpeSource::Merge& merge) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size() ||
      line.find(' ', space + 1) != std::string_view::npos) {
    return false;
  }
  merge.left = line.substr(0, space);
  merge.right = line.substr(space + 1);
  return true;
}

std::string write_huggingface_tokenizer(const BpeDescription& description, bool add_prefix_space) {
  OrderedJson merges = OrderedJson::array();
  for (const auto& merge : description.source.merges)
    merges.push_back(merge.left + " " + merge.right);
  const OrderedJson normalizer =
      description.nfc ? OrderedJson{{"type", "NFC"}} : OrderedJson(nullptr);
  const OrderedJson whole = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", write_added(description.added)},
      {"normalizer", normalizer},
      {"pre_tokenizer", write_pre_tokenizer(description.stages, add_prefix_space)},
      {"post_processor", nullptr},
      {"decoder", write_byte_level(true, false)},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", write_vocab(description.source)},
        {"merges", merges}}}};
  return whole.dump() + "\n";
}

Result<BpeDescription> parse_gpt2_files(std::string_view vocab_json, const std::string& vocab_file,
                                        std::string_view merges_txt,
                                        const std::string& merges_file) {
  LEASEHOLD_ASSIGN_OR_RETURN(const nlohmann::json vocab,
                             parse_strict_json(vocab_json, vocab_file, kBpeJsonDepth));
  BpeDescription made;
  LEASEHOLD_RETURN_IF_ERROR(read_bpe_vocab(JsonCursor(vocab, vocab_file), vocab, made.source));
  const std::string_view whole = merges_txt;
  if (whole.starts_with("version "))  // the lines of a Git LFS pointer could pass for merges
    LEASEHOLD_RETURN_IF_ERROR(check_file_kind(whole, merges_file, "a list of merges"));
  int64_t line_number = 0;
  while (!merges_txt.empty()) {
    const size_t end = std::min(merges_txt.find('\n'), merges_txt.size());
    std::string_view line = merges_txt.substr(0, end);
    merges_txt.remove_prefix(std::min(end + 1, merges_txt.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    BpeSource::Merge merge;
    merge.place = fmt::format("{}: line {}", merges_file, line_number);
    if (!split_bpe_merge(line, merge)) {
      LEASEHOLD_RETURN_IF_ERROR(check_file_kind(whole, merges_file, "a list of merges"));
      return error(Code::kBadData,
                   "{}: '{}' is no merge, which is two tokens with a space between; take the "
                   "tokenizer's files again, unchanged",
                   merge.place, line);
    }
    made.source.merges.push_back(std::move(merge));
  }
  made.stages.push_back({.pattern = std::string(kGpt2Pattern)});
  for (const auto& [token, id] : made.source.vocab) {
    if (token == kEndOfText) made.added.push_back({.id = id, .content = token, .special = true});
  }
  return made;
}

}  // namespace leasehold
