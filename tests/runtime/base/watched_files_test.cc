// Work on files as somebody else sees it: what it has moved, where it is, and that it ends when it
// is told to.
#include "runtime/base/watched_files.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

TEST(WatchedFiles, CountsBytesInBlocksAndSaysWhereItIs) {
  TemporaryDirectory directory;
  auto progress = std::make_shared<FileProgress>("the save of step 5");
  EXPECT_EQ(progress->at(), "the save of step 5");
  const auto files = watch_files(posix_files(), progress);
  const std::string path = directory / "x";
  const std::string content(static_cast<size_t>(2 * kWatchedBlockBytes + 3), 'x');
  {
    const auto file = files->create(path).value();
    const int64_t before = progress->num_moves();
    ASSERT_TRUE(file->append(content.data(), std::ssize(content)).ok());
    EXPECT_EQ(progress->num_moves() - before, 3);
    EXPECT_EQ(progress->bytes(), std::ssize(content));
    EXPECT_EQ(progress->at(), "writing " + path);
    ASSERT_TRUE(file->sync().ok());
    EXPECT_EQ(progress->at(), "syncing " + path);
    ASSERT_TRUE(file->close().ok());
  }
  EXPECT_EQ(read_file(*files, path).value(), content);
  EXPECT_EQ(progress->bytes(), 2 * std::ssize(content));
  EXPECT_EQ(progress->at(), "reading " + path);
}

TEST(WatchedFiles, EveryOperationAfterAStopFailsWithItsReason) {
  TemporaryDirectory directory;
  auto progress = std::make_shared<FileProgress>("work");
  const auto files = watch_files(posix_files(), progress);
  const std::string path = directory / "x";
  const auto file = files->create(path).value();
  progress->stop(error(Code::kUnavailable, "the rank leaves"));
  progress->stop(error(Code::kInternal, "a later reason"));
  std::vector<Status> outcomes = {file->append("abc", 3),
                                  file->sync(),
                                  file->close(),
                                  files->create(path).status(),
                                  files->open(path).status(),
                                  files->rename(path, path + "2"),
                                  files->create_exclusive(path + "3", "abc"),
                                  files->list(directory / "").status(),
                                  files->remove_all(path)};
  for (const Status& outcome : outcomes) {
    EXPECT_EQ(outcome.code(), Code::kUnavailable);
    EXPECT_EQ(outcome.message(), "the rank leaves");
  }
  EXPECT_EQ(read_file(posix_files(), path).value(), "");
  EXPECT_FALSE(posix_files().exists(path + "3"));
}

TEST(WatchedFiles, FailuresAreThoseOfTheFiles) {
  TemporaryDirectory directory;
  auto progress = std::make_shared<FileProgress>("work");
  const auto files = watch_files(posix_files(), progress);
  EXPECT_EQ(files->open(directory / "absent").status().code(), Code::kMissingInput);
  EXPECT_EQ(files->create(directory / "absent/x").status().code(), Code::kStorage);
  EXPECT_FALSE(files->exists(directory / "absent"));
}

}  // namespace
}  // namespace leasehold
