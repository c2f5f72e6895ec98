// Applies the rules of the house to the repository.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "tests/house/rules.h"

namespace leasehold::house {
namespace {

class House : public testing::Test {
 protected:
  void expect_none(const Offences& offences) {
    EXPECT_TRUE(offences.empty()) << fmt::format("{}", fmt::join(offences, "\n"));
  }

  const SourceTree tree_ = read_source_tree(LEASEHOLD_SOURCE_DIR);
};

TEST_F(House, TreeIsRead) {
  EXPECT_EQ(tree_.count("CMakeLists.txt"), 1);
  EXPECT_EQ(tree_.count("runtime/base/status.h"), 1);
  EXPECT_EQ(tree_.count("tests/house/house_test.cc"), 1);
}

TEST_F(House, IncludesPointDownwards) { expect_none(include_direction_offences(tree_)); }
TEST_F(House, IncludesStartAtTheRoot) { expect_none(include_path_offences(tree_)); }
TEST_F(House, FilesOpenWithTheirPurpose) { expect_none(opening_offences(tree_)); }
TEST_F(House, LibrariesNeitherExitNorPrint) { expect_none(library_conduct_offences(tree_)); }
TEST_F(House, InstructionsOfOneProcessorHaveTheirPlace) { expect_none(processor_offences(tree_)); }
TEST_F(House, FilesAreShort) { expect_none(size_offences(tree_)); }
TEST_F(House, NothingIsLeftUnfinished) { expect_none(unfinished_offences(tree_)); }
TEST_F(House, RepositoryStandsAlone) { expect_none(surroundings_offences(tree_)); }
TEST_F(House, LinksLeadSomewhere) { expect_none(link_offences(tree_)); }

}  // namespace
}  // namespace leasehold::house
