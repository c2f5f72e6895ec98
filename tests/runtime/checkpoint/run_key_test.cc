// The key of a run: drawn once, and read by nobody else.
#include "runtime/checkpoint/run_key.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <thread>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

TEST(RunKey, IsDrawnOnceAndItsOwnersAlone) {
  const TemporaryDirectory directory;
  const std::string run_dir = directory / "run";
  EXPECT_EQ(read_run_key(run_dir).status().code(), Code::kMissingInput);
  const auto key = load_run_key(run_dir);
  ASSERT_TRUE(key.ok()) << key.status().message();
  EXPECT_EQ(load_run_key(run_dir).value(), *key);
  EXPECT_EQ(read_run_key(run_dir).value(), *key);
  struct stat status {};
  ASSERT_EQ(::stat((run_dir + "/key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(status.st_nlink, 1U);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(run_dir)) files += entry.exists();
  EXPECT_EQ(files, 1);
  EXPECT_NE(load_run_key(directory / "other").value(), *key);
}

TEST(RunKey, IsRefusedWhereOthersMayHaveIt) {
  const TemporaryDirectory directory;
  const std::string run_dir = directory / "run", path = run_dir + "/key";
  ASSERT_TRUE(load_run_key(run_dir).ok());
  const auto refusal = [&] {
    const auto key = load_run_key(run_dir);
    EXPECT_EQ(key.status().code(), Code::kBadData);
    EXPECT_NE(key.status().message().find("checkpoint.snapshot"), std::string::npos);
    return key.status().message();
  };
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_NE(refusal().find("mode 644"), std::string::npos) << refusal();
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  std::filesystem::create_hard_link(path, directory / "second");
  EXPECT_NE(refusal().find("2 names"), std::string::npos) << refusal();
  std::filesystem::rename(directory / "second", directory / "moved");
  std::filesystem::remove(path);
  std::filesystem::create_symlink(directory / "moved", path);
  EXPECT_NE(refusal().find("symbolic link"), std::string::npos) << refusal();
  std::filesystem::remove(path);
  ASSERT_TRUE(publish_private_file(path, "no key\n").ok());
  EXPECT_NE(refusal().find(path), std::string::npos) << refusal();
}

}  // namespace
}  // namespace leasehold
