#include "tests/house/source_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

namespace leasehold::house {

namespace {

namespace fs = std::filesystem;

bool is_binary(const std::string& text) { return text.find('\0') != std::string::npos; }

// Scans C++ text once, and knows where comments and literals begin and end.
class CodeScanner {
 public:
  explicit CodeScanner(const std::string& text) : text_(text), code_(text) {}

  std::string run() {
    while (at_ < text_.size()) {
      if (starts("//")) {
        blank_until(text_.find('\n', at_));
      } else if (starts("/*")) {
        const size_t end = text_.find("*/", at_ + 2);
        blank_until(end == std::string::npos ? end : end + 2);
      } else if (starts("R\"") && !follows_name()) {
        skip_raw_string();
      } else if (text_[at_] == '"' || (text_[at_] == '\'' && !follows_digit())) {
        skip_literal();
      } else {
        ++at_;
      }
    }
    return code_;
  }

 private:
  bool starts(std::string_view prefix) const {
    return text_.compare(at_, prefix.size(), prefix) == 0;
  }
  bool follows_name() const {
    return at_ > 0 &&
           (std::isalnum(static_cast<unsigned char>(text_[at_ - 1])) != 0 || text_[at_ - 1] == '_');
  }
  // Recognises the separator in 1'000'000.
  bool follows_digit() const {
    return at_ > 0 && std::isxdigit(static_cast<unsigned char>(text_[at_ - 1])) != 0;
  }

  void blank_until(size_t end) {
    end = std::min(end, text_.size());
    for (; at_ < end; ++at_) {
      if (code_[at_] != '\n') code_[at_] = ' ';
    }
  }

  void skip_literal() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote && text_[end] != '\n') {
      end += text_[end] == '\\' ? 2 : 1;
    }
    blank_until(end + 1);
  }

  void skip_raw_string() {
    const size_t open = text_.find('(', at_);
    if (open == std::string::npos) return blank_until(open);
    const std::string close = ")" + text_.substr(at_ + 2, open - at_ - 2) + "\"";
    const size_t end = text_.find(close, open);
    blank_until(end == std::string::npos ? end : end + close.size());
  }

  const std::string& text_;
  std::string code_;
  size_t at_ = 0;
};

}  // namespace

SourceTree read_source_tree(const std::string& root) {
  static const std::set<std::string> kSkippedAtRoot = {".git", ".cache", "build",
                                                       "runs", "data",   "compile_commands.json"};
  SourceTree tree;
  for (fs::recursive_directory_iterator it(root), end; it != end; ++it) {
    const std::string path = fs::relative(it->path(), root).generic_string();
    if (it.depth() == 0 && kSkippedAtRoot.count(path) != 0) {
      if (it->is_directory()) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file() || extension_of(path) == "swp") continue;
    std::ifstream file(it->path(), std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    if (!is_binary(content.str())) tree[path] = content.str();
  }
  return tree;
}

std::string extension_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  const size_t dot = path.rfind('.');
  if (dot == std::string::npos || (slash != std::string::npos && dot < slash)) return "";
  return path.substr(dot + 1);
}

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool is_cpp(const std::string& path) {
  const std::string extension = extension_of(path);
  return extension == "h" || extension == "cc" || extension == "cu" || extension == "cuh";
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string code_of(const std::string& text) { return CodeScanner(text).run(); }

}  // namespace leasehold::house
