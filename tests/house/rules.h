// The rules of the house that a program can check. Each rule takes the tree and returns one line
// per offence, naming file, line and the way out. Without offences it returns an empty list.
#pragma once

#include <string>
#include <vector>

#include "tests/house/source_tree.h"

namespace leasehold::house {

using Offences = std::vector<std::string>;

// Checks the direction of includes. A file may include its own folder and the folders that the
// table in rules.cc allows: runtime/ includes nothing above it, collectives/ and models/ include
// runtime/ but not each other, launch/ composes them, and nobody includes tests/ or bench/. A
// folder that is missing in the table is an offence.
Offences include_direction_offences(const SourceTree& tree);

// Checks that quoted includes start at the root and name an existing file; system headers come in
// angle brackets.
Offences include_path_offences(const SourceTree& tree);

// Checks that a header says #pragma once and opens with a comment of its purpose. So must a source
// without a header, unless it shares one (cuda.h for cuda_absent.cc) or is a test that mirrors one.
Offences opening_offences(const SourceTree& tree);

// Checks that runtime/, collectives/ and models/ neither end the process nor write to stdout.
Offences library_conduct_offences(const SourceTree& tree);

// Checks that instructions of one family of processors are named in runtime/base/vectors.h,
// runtime/base/pause.h and files that bear its name (processor_x86.cc) alone.
Offences processor_offences(const SourceTree& tree);

// Checks that no source has more than 600 lines.
Offences size_offences(const SourceTree& tree);

// Checks that there are no notes of unfinished work.
Offences unfinished_offences(const SourceTree& tree);

// Checks that the repository stands alone: it has no path into somebody's machine, no numbered
// issue, and no name of a document that is not in it.
Offences surroundings_offences(const SourceTree& tree);

// Checks that relative links in Markdown lead to a file or folder of the repository.
Offences link_offences(const SourceTree& tree);

}  // namespace leasehold::house
