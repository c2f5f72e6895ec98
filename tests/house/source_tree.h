// The text files of the repository, in memory, for rules that read them. Tests of the rules make
// small trees of their own.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace leasehold::house {

// Path from the root, with slashes ("runtime/base/status.h"), to content.
using SourceTree = std::map<std::string, std::string>;

// Everything a person wrote below `root`: not .git, nor what .gitignore names at the root (build,
// runs, data), nor binary files.
SourceTree read_source_tree(const std::string& root);

// "cc" of "a/b.cc"; empty without a dot in the last component.
std::string extension_of(const std::string& path);
// "runtime/base" of "runtime/base/status.h"; empty at the root.
std::string folder_of(const std::string& path);
// A header, C++ or CUDA source.
bool is_cpp(const std::string& path);
std::vector<std::string> lines_of(const std::string& text);
// The text with comments, string literals and character literals blanked, newlines kept: what the
// compiler acts on.
std::string code_of(const std::string& text);

}  // namespace leasehold::house
