// Names the kind of a file that is not what it should be: a Git LFS pointer instead of weights, a
// server's error page instead of a tokenizer, an archive instead of text. Readers ask once they
// have not found their own format, so that their message says what the file is and what to do.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

enum class FileKindGroup {
  kStandIn,     // text that stands in for a file: a pointer, a server's answer
  kMarkup,      // text with tags: HTML, XML
  kCompressed,  // one compressed stream
  kArchive,     // several files in one
  kData,        // a table, a tensor or a database
  kDocument,    // PDF, pictures, sound, programs
};

struct FileKind {
  std::string_view name;     // with its article: "a Git LFS pointer"
  std::string_view way_out;  // an imperative: "fetch the file with `git lfs pull`"
  FileKindGroup group = FileKindGroup::kData;
};

// The number of bytes from a file's start that recognise_file needs; a shorter file gives them all.
inline constexpr size_t kFileKindBytes = 512;

// Returns the kind that the first bytes show. Returns null for text, tokens, weights and unknown
// formats. UTF-8 text without control characters can only be a stand-in, markup or PDF. Pure.
const FileKind* recognise_file(std::string_view head);

// Fails with kBadData if the first bytes show a kind, or if there are none: "PATH: this is a Git
// LFS pointer, not WANTED; fetch the file with ..." or "PATH: this is empty, not WANTED; ...".
// `wanted` comes with its article.
Status check_file_kind(std::string_view head, const std::string& path, std::string_view wanted);

}  // namespace leasehold
