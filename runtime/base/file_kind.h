// Names what a file is when it is not what was asked for: a Git LFS pointer instead of weights, a
// server's error page instead of a tokenizer, an archive instead of text. Readers ask after their
// own format was not found, so that a message says what lies there and what to do.
#pragma once

#include <string>
#include <string_view>

#include "runtime/base/status.h"

namespace leasehold {

enum class FileKindGroup {
  kStandIn,     // text that stands in for a file: a pointer, a server's answer
  kMarkup,      // text, but of a page: HTML, XML
  kCompressed,  // one stream, packed
  kArchive,     // several files in one
  kData,        // a table, a tensor or a database
  kDocument,    // PDF, pictures, sound, programs
};

struct FileKind {
  std::string_view name;     // with its article: "a Git LFS pointer"
  std::string_view way_out;  // an imperative: "fetch the file with `git lfs pull`"
  FileKindGroup group = FileKindGroup::kData;
};

// Bytes of a file's start that recognise_file wants to see; fewer are enough for a file that is
// shorter.
inline constexpr size_t kFileKindBytes = 512;

// The kind that the first bytes tell, or null: text, tokens, weights and what nobody knows. Never
// takes UTF-8 text without control characters for anything but a stand-in, markup or PDF. Pure.
const FileKind* recognise_file(std::string_view head);

// "PATH: this is a Git LFS pointer, not WANTED; fetch the file with ...", or "PATH: this is empty,
// not WANTED; ...", or ok when the first bytes tell nothing. kBadData. `wanted` has its article.
Status check_file_kind(std::string_view head, const std::string& path, std::string_view wanted);

}  // namespace leasehold
