// The rules of the house that a program can check. Each takes the tree and returns one line per
// offence, naming file, line and the way out; empty when all is well.
#pragma once

#include <string>
#include <vector>

#include "tests/house/source_tree.h"

namespace leasehold::house {

using Offences = std::vector<std::string>;

// Every file may include its own folder and those that the table in rules.cc allows it: runtime/
// includes nothing above it, collectives/ and models/ include runtime/ but not each other, launch/
// composes them, and nobody includes tests/ or bench/. A folder that the table does not know is an
// offence.
Offences include_direction_offences(const SourceTree& tree);

// Quoted includes start at the root and name a file that is there; system headers come in angle
// brackets.
Offences include_path_offences(const SourceTree& tree);

// A header says #pragma once and opens with a comment of its purpose; so does a source without a
// header of its own, be it shared (cuda.h for cuda_absent.cc) or, for a test, the one that it
// mirrors.
Offences opening_offences(const SourceTree& tree);

// runtime/, collectives/ and models/ neither end the process nor write to stdout.
Offences library_conduct_offences(const SourceTree& tree);

// No source above 600 lines.
Offences size_offences(const SourceTree& tree);

// No notes of unfinished work.
Offences unfinished_offences(const SourceTree& tree);

// The repository stands alone: no path into somebody's machine, no numbered issue, no document that
// is not here.
Offences surroundings_offences(const SourceTree& tree);

// Relative links in Markdown lead to a file or folder of the repository.
Offences link_offences(const SourceTree& tree);

}  // namespace leasehold::house
