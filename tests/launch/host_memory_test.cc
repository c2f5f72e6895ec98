#include "launch/host_memory.h"

#include <filesystem>
#include <gtest/gtest.h>

#include "launch/run_memory.h"
#include "runtime/base/files.h"
#include "runtime/checkpoint/snapshot_slot.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

using Names = std::vector<std::string>;

PlannedHost planned(const std::string& host) { return {.host = host}; }

TEST(HostMemory, TheNewestWorldCleansItself) {
  EXPECT_EQ(hosts_that_left({}), Names());
  EXPECT_EQ(hosts_that_left({{1, {planned("a"), planned("b")}}}), Names());
  EXPECT_EQ(hosts_that_left({{1, {planned("c"), planned("a")}},
                             {2, {planned("b"), planned("c")}},
                             {3, {planned("b")}}}),
            (Names{"a", "c"}));
}

// Files are named by lineage, and by path for those that a program before 0.1.0 left.
TEST(HostMemory, NamesTheFilesOfTheRunAlone) {
  const TemporaryDirectory directory;
  const auto prefixes = memory_prefixes(directory / "run");
  ASSERT_EQ(prefixes.size(), 1U);
  std::filesystem::create_directories(directory / "run");
  throw_if_error(publish_file(posix_files(), directory / "run/lineage", "abc\n", "test"));
  EXPECT_EQ(memory_removal(directory / "run"),
            "rm -rf /dev/shm/" + prefixes[0] + "* /dev/shm/" + lineage_prefix("abc") + "*");
  EXPECT_NE(prefixes[0], lineage_prefix("abc"));
}

TEST(HostMemory, EveryHostIsAskedThroughTheAgent) {
  const TemporaryDirectory directory;
  const std::string agent = directory / "agent";
  throw_if_error(publish_file(posix_files(), agent,
                              fmt::format("#!/bin/sh\n[ \"$1\" != gone ] || exit 255\n"
                                          "echo \"$#: $2\" > '{}'/\"$1\".asked\n",
                                          directory.path()),
                              "test"));
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
  const auto prober = make_prober(agent, 10, "rm -rf thing*");
  const auto problems = ask_all(*prober, {"a", "gone", "b"});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0], "gone: `" + agent + " gone rm -rf thing*` ended with code 255");
  // The agent's own words come first if there are any.
  throw_if_error(publish_file(posix_files(), agent,
                              "#!/bin/sh\necho Warning: banner\n"
                              "echo 'root@a: Permission denied (publickey).' >&2\nexit 255\n",
                              "test"));
  std::filesystem::permissions(agent, std::filesystem::perms::owner_all);
  EXPECT_EQ(ask_all(*prober, {"a"}),
            std::vector<std::string>{"a: root@a: Permission denied (publickey). (`" + agent +
                                     " a` ended with code 255)"});
  for (const std::string host : {"a", "b"}) {
    const auto asked = read_file(posix_files(), directory / (host + ".asked"));
    ASSERT_TRUE(asked.ok()) << asked.status().message();
    EXPECT_EQ(*asked, "2: rm -rf thing*\n");
  }
}

}  // namespace
}  // namespace leasehold
