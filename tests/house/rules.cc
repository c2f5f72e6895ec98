#include "tests/house/rules.h"

#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <regex>
#include <set>

namespace leasehold::house {

namespace {

constexpr size_t kMaxLines = 600;

struct Include {
  size_t line;
  std::string path;
};

std::vector<Include> quoted_includes(const std::string& text) {
  static const std::regex kInclude(R"(^\s*#\s*include\s*"([^"]*)\")");
  std::vector<Include> includes;
  const std::vector<std::string> lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    std::smatch match;
    if (std::regex_search(lines[i], match, kInclude)) includes.push_back({i + 1, match[1]});
  }
  return includes;
}

bool is_in(const std::string& path, const std::string& folder) {
  return path.starts_with(folder + "/");
}

// Returns the other folders that a file of each folder may include from. The entry with the longest
// matching name counts.
const std::map<std::string, std::set<std::string>>& allowed_includes() {
  static const std::set<std::string> kRuntimeOnly = {"runtime"};
  static const std::map<std::string, std::set<std::string>> kAllowed = {
      {"runtime/base", {}},
      {"runtime/device", {"runtime/base"}},
      {"runtime/tensor", {"runtime/base", "runtime/device"}},
      {"runtime/comm", {"runtime/base", "runtime/device", "runtime/tensor"}},
      {"runtime/module", {"runtime/base", "runtime/device", "runtime/tensor", "runtime/comm"}},
      {"runtime/data", {"runtime/base"}},
      {"runtime/checkpoint", {"runtime/base", "runtime/device", "runtime/tensor", "runtime/comm"}},
      {"runtime/train", {"runtime"}},
      {"collectives", {"runtime"}},
      {"models", {"runtime"}},
      {"launch", {"runtime", "collectives", "models"}},
      {"tests", {"runtime", "collectives", "models", "launch"}},
      {"bench", {"runtime", "collectives", "models", "launch"}},
  };
  return kAllowed;
}

// Returns the entry of the table that `path` belongs to.
std::optional<std::string> entry_of(const std::string& path) {
  for (std::string folder = folder_of(path); !folder.empty(); folder = folder_of(folder)) {
    if (allowed_includes().count(folder) != 0) return folder;
  }
  return std::nullopt;
}

// Adds one offence for each match of `pattern` in `text`; `say` gets the match. Searches only lines
// that contain `hint`, since std::regex is slow.
template <typename Say>
void find_in_lines(const std::string& path, const std::string& text, const std::regex& pattern,
                   std::string_view hint, const Say& say, Offences& offences) {
  const std::vector<std::string> lines = lines_of(text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].find(hint) == std::string::npos) continue;
    for (std::sregex_iterator match(lines[i].begin(), lines[i].end(), pattern), end; match != end;
         ++match) {
      const std::string message = say(*match);
      if (!message.empty()) offences.push_back(fmt::format("{}:{}: {}", path, i + 1, message));
    }
  }
}

std::string file_name_of(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// Returns true if a header states the source's purpose: its own, one that several sources share
// (cuda.h for cuda_absent.cc), or the one that a test mirrors.
bool has_own_header(const SourceTree& tree, const std::string& path) {
  const auto is_header = [&](const std::string& stem) { return tree.count(stem + ".h") != 0; };
  const std::string stem = path.substr(0, path.rfind('.'));
  if (is_in(path, "tests") && stem.ends_with("_test")) {
    return is_header(stem.substr(sizeof("tests/") - 1, stem.size() - sizeof("tests/_test") + 1));
  }
  if (is_header(stem)) return true;
  const size_t name = stem.rfind('/') + 1;
  for (size_t end = stem.rfind('_'); end != std::string::npos && end > name;
       end = stem.rfind('_', end - 1)) {
    if (is_header(stem.substr(0, end))) return true;
  }
  return false;
}

bool is_library(const std::string& path) {
  return is_in(path, "runtime") || is_in(path, "collectives") || is_in(path, "models");
}

}  // namespace

Offences include_direction_offences(const SourceTree& tree) {
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (!is_cpp(path)) continue;
    const std::optional<std::string> from = entry_of(path);
    if (!from) {
      offences.push_back(fmt::format(
          "{}: its folder is not in the table of tests/house/rules.cc; add it there", path));
      continue;
    }
    const std::set<std::string>& allowed = allowed_includes().at(*from);
    for (const Include& include : quoted_includes(text)) {
      bool fine = is_in(include.path, *from);
      for (const std::string& folder : allowed) fine = fine || is_in(include.path, folder);
      if (!fine) {
        offences.push_back(
            fmt::format("{}:{}: {} may not include {}; move what both need below both", path,
                        include.line, *from, include.path));
      }
    }
  }
  return offences;
}

Offences include_path_offences(const SourceTree& tree) {
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (!is_cpp(path)) continue;
    for (const Include& include : quoted_includes(text)) {
      if (tree.count(include.path) == 0) {
        offences.push_back(
            fmt::format("{}:{}: \"{}\" is no file from the root; write the whole path, or <> for a "
                        "system header",
                        path, include.line, include.path));
      }
    }
  }
  return offences;
}

Offences opening_offences(const SourceTree& tree) {
  static const std::regex kPragma(R"(^#pragma once$)");
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (!is_cpp(path)) continue;
    const bool is_header = extension_of(path) == "h" || extension_of(path) == "cuh";
    if ((is_header || !has_own_header(tree, path)) && !text.starts_with("// ")) {
      offences.push_back(fmt::format("{}:1: open with a comment of what the file is for", path));
    }
    if (!is_header) continue;
    bool has_pragma = false;
    for (const std::string& line : lines_of(text))
      has_pragma = has_pragma || std::regex_match(line, kPragma);
    if (!has_pragma) offences.push_back(fmt::format("{}:1: a header says #pragma once", path));
  }
  return offences;
}

Offences library_conduct_offences(const SourceTree& tree) {
  // A member may be called exit or abort (Communicator::abort). So a call counts only if no name,
  // dot or arrow precedes it.
  static const std::string kFree = R"((^|[^\w.>:])(std::|::)?)";
  static const std::vector<std::regex> kForbidden = {
      std::regex(kFree + R"((_exit|_Exit|quick_exit|exit|terminate)\s*\()"),
      std::regex(kFree + R"(abort\s*\(\s*\))"),
      std::regex(kFree + R"((printf|fprintf|vprintf|vfprintf|puts|fputs|putchar)\s*\()"),
      std::regex(R"(std::(cout|cerr|clog)\b|\bstdout\b|\bfmt::print(ln)?\s*\()"),
  };
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (!is_cpp(path) || !is_library(path)) continue;
    const std::string code = code_of(text);
    for (const std::regex& pattern : kForbidden) {
      find_in_lines(
          path, code, pattern, "",
          [](const std::smatch& match) {
            return fmt::format("`{}` in a library; return a Status, or speak through a Logger",
                               match.str());
          },
          offences);
    }
  }
  return offences;
}

Offences processor_offences(const SourceTree& tree) {
  struct Form {
    const char* hint;
    std::regex pattern;
  };
  static const std::regex kArmVector(R"(\b(u?int|float)\d+x\d+_t\b)");
  static const std::vector<Form> kForms = {
      {"intrin.h", std::regex(R"(\b[a-z]mmintrin\.h)")},
      {"arm_", std::regex(R"(\barm_(neon|sve)\.h)")},
      {"cpuid.h", std::regex(R"(\bcpuid\.h)")},
      {"__builtin_ia32_", std::regex(R"(\b__builtin_ia32_\w+)")},
      {"__builtin_aarch64_", std::regex(R"(\b__builtin_aarch64_\w+)")},
      {"_mm", std::regex(R"(\b_mm\d*_\w+)")},
      {"__m", std::regex(R"(\b__m(128|256|512)[id]?\b)")},
      {"x2_t", kArmVector},
      {"x4_t", kArmVector},
      {"x8_t", kArmVector},
      {"x16_t", kArmVector},
  };
  static const std::regex kBearsItsName(R"(_(x86|x86_64|arm|aarch64)\.(cc|h)$)");
  static const std::set<std::string> kForAll = {"runtime/base/vectors.h", "runtime/base/pause.h"};
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (!is_cpp(path) || kForAll.count(path) != 0 || std::regex_search(path, kBearsItsName))
      continue;
    const std::string code = code_of(text);
    for (const Form& form : kForms) {
      if (code.find(form.hint) == std::string::npos) continue;
      find_in_lines(
          path, code, form.pattern, form.hint,
          [](const std::smatch& match) {
            return fmt::format(
                "`{}` is of one family of processors; use or extend runtime/base/vectors.h",
                match.str());
          },
          offences);
    }
  }
  return offences;
}

Offences size_offences(const SourceTree& tree) {
  Offences offences;
  for (const auto& [path, text] : tree) {
    const size_t lines = lines_of(text).size();
    if (is_cpp(path) && lines > kMaxLines) {
      offences.push_back(fmt::format(
          "{}: {} lines; files above {} do more than one thing, split it", path, lines, kMaxLines));
    }
  }
  return offences;
}

Offences unfinished_offences(const SourceTree& tree) {
  static const std::regex kUnfinished(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X|HA"
      "CK)\\b");
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (path == "LICENSE") continue;
    find_in_lines(
        path, text, kUnfinished, "",
        [](const std::smatch& match) {
          return fmt::format("`{}`: finish it, or file it elsewhere", match.str());
        },
        offences);
  }
  return offences;
}

Offences surroundings_offences(const SourceTree& tree) {
  // Folders with people's own files. /tmp, /dev, /proc, /sys, /usr and /etc mean the same
  // everywhere.
  static const std::regex kForeignPath(
      R"((^|[\s"'`(=:,])/(work|home|root|mnt|media|srv|Users|workspace)/[\w.])");
  static const std::regex kIssue(R"(\b[Ii]ssues?\s+#?\d+)");
  static const std::regex kDocument(R"(\b[A-Z][A-Z_]+\.md\b)");
  std::set<std::string> names;
  for (const auto& [path, text] : tree) names.insert(file_name_of(path));

  Offences offences;
  for (const auto& [path, text] : tree) {
    if (path == "LICENSE") continue;
    find_in_lines(
        path, text, kForeignPath, "/",
        [](const std::smatch&) {
          return std::string("a path of one machine; take it as an argument");
        },
        offences);
    find_in_lines(
        path, text, kIssue, "ssue",
        [](const std::smatch& match) {
          return fmt::format("`{}`: say what it was about instead", match.str());
        },
        offences);
    find_in_lines(
        path, text, kDocument, ".md",
        [&](const std::smatch& match) {
          if (names.count(match.str()) != 0) return std::string();
          return fmt::format("there is no document {} here", match.str());
        },
        offences);
  }
  return offences;
}

Offences link_offences(const SourceTree& tree) {
  static const std::regex kLink(R"(\]\(([^)\s#]+)[^)]*\))");
  std::set<std::string> there;
  for (const auto& [path, text] : tree) {
    for (std::string name = path; !name.empty(); name = folder_of(name)) there.insert(name);
  }
  Offences offences;
  for (const auto& [path, text] : tree) {
    if (extension_of(path) != "md") continue;
    const std::filesystem::path folder = folder_of(path);
    find_in_lines(
        path, text, kLink, "](",
        [&](const std::smatch& match) {
          const std::string link = match[1];
          if (link.find("://") != std::string::npos || link.starts_with("mailto:"))
            return std::string();
          std::string target = (folder / link).lexically_normal().generic_string();
          if (!target.empty() && target.back() == '/') target.pop_back();
          return there.count(target) != 0 ? std::string()
                                          : fmt::format("the link {} leads nowhere", link);
        },
        offences);
  }
  return offences;
}

}  // namespace leasehold::house
