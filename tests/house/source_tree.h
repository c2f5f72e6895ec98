// The text files of the repository, in memory, for rules that read them. Tests of the rules make
// small trees of their own.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace leasehold::house {

// Maps a path from the root, with slashes ("runtime/base/status.h"), to the file's content.
using SourceTree = std::map<std::string, std::string>;

// Reads all files below `root` that people wrote: without .git, the names that .gitignore lists at
// the root (build, runs, data), and binary files.
SourceTree read_source_tree(const std::string& root);

// Returns "cc" for "a/b.cc"; empty without a dot in the last component.
std::string extension_of(const std::string& path);
// Returns "runtime/base" for "runtime/base/status.h"; empty at the root.
std::string folder_of(const std::string& path);
// Returns true for a header, a C++ source or a CUDA source.
bool is_cpp(const std::string& path);
std::vector<std::string> lines_of(const std::string& text);
// Returns the text that the compiler acts on: comments, string literals and character literals are
// blanked, newlines are kept.
std::string code_of(const std::string& text);

}  // namespace leasehold::house
