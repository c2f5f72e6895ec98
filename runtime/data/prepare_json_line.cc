// One line of JSON lines to the tokens of its document.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/base/json_problem.h"
#include "runtime/data/prepare_sources.h"

namespace leasehold {

namespace {

constexpr size_t kShownFields = 12;
constexpr size_t kShownBytes = 40;
// A value takes tens of bytes of memory for each level that it is nested, and the parser's stack.
constexpr int kMostLevels = 512;

// Returns true when objects and arrays of the line are open inside each other to more levels. Looks
// at brackets outside strings alone: a line that is no JSON is the parser's to refuse.
bool nests_deeper(std::string_view line, int most) {
  int level = 0;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++level > most) return true;
    } else if (c == '}' || c == ']') {
      --level;
    }
  }
  return false;
}

std::string fields_in_words(const nlohmann::json& object) {
  if (object.empty()) return "it has no fields";
  std::string words;
  size_t shown = 0;
  for (const auto& [name, value] : object.items()) {
    if (shown++ == kShownFields) break;
    words += fmt::format("{}\"{}\"", words.empty() ? "" : ", ", name.substr(0, kShownBytes));
  }
  return fmt::format("it has {}{}", words, object.size() > kShownFields ? " and more" : "");
}

// The member `field`, or by its dots a member of members. Null, with the reason, when there is
// none.
const nlohmann::json* find_field(const nlohmann::json& object, const std::string& field,
                                 std::string& missing) {
  if (const auto found = object.find(field); found != object.end()) return &*found;
  const nlohmann::json* at = &object;
  std::string_view rest = field;
  std::string path;
  while (true) {
    const std::string name(rest.substr(0, rest.find('.')));
    const auto found = at->find(name);
    if (found == at->end()) {
      missing = fmt::format("no \"{}\"{}: {}", name, path.empty() ? "" : " in \"" + path + "\"",
                            fields_in_words(*at));
      return nullptr;
    }
    path += (path.empty() ? "" : ".") + name;
    if (name.size() == rest.size()) return &*found;
    rest.remove_prefix(name.size() + 1);
    if (!found->is_object()) {
      missing =
          fmt::format("\"{}\" is {}, not an object with \"{}\"", path, found->type_name(), rest);
      return nullptr;
    }
    at = &*found;
  }
}

}  // namespace

Status encode_json_line(std::string_view line, const PrepareContext& context,
                        std::vector<int32_t>& out) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return ok_status();
  const auto bad = [&](const std::string& what) {
    return error(Code::kBadData,
                 "{}; a line is a JSON object with the document in \"{}\" (--field names another "
                 "one; say --format text if this is no JSON lines file)",
                 what, context.field);
  };
  if (nests_deeper(line, kMostLevels))
    return bad(fmt::format("nested deeper than {} levels", kMostLevels));
  nlohmann::json root;
  try {
    root = nlohmann::json::parse(line);
  } catch (const nlohmann::json::exception& problem) {
    return bad("not valid JSON: " + json_line_problem(problem));
  }
  if (!root.is_object()) return bad(fmt::format("not a JSON object but {}", root.type_name()));
  std::string missing;
  const nlohmann::json* text = find_field(root, context.field, missing);
  if (text == nullptr) return bad(missing);
  if (!text->is_string())
    return bad(fmt::format("\"{}\" is not a string but {}", context.field, text->type_name()));
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokens,
                             context.tokenizer.encode(text->get_ref<const std::string&>()));
  if (tokens.empty()) return ok_status();
  if (context.begin_token) out.push_back(*context.begin_token);
  out.insert(out.end(), tokens.begin(), tokens.end());
  if (context.end_token) out.push_back(*context.end_token);
  return ok_status();
}

}  // namespace leasehold
