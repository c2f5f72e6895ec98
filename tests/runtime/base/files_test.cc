#include "runtime/base/files.h"

#include <atomic>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace leasehold {
namespace {

class Files : public testing::Test {
 public:
  ~Files() override { std::filesystem::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string content(const std::string& name) { return read_file(files_, path(name)).value(); }
  void write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(files_.make_directories(parent_path(path(name))).ok());
    auto file = files_.create(path(name)).value();
    ASSERT_TRUE(file->append(text.data(), static_cast<int64_t>(text.size())).ok());
    ASSERT_TRUE(file->close().ok());
  }

 protected:
  Files() {
    std::string name = testing::TempDir() + "leasehold-files-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    directory_ = name;
  }
  std::vector<std::string> names() { return files_.list(directory_).value(); }

  FileSystem& files_ = posix_files();
  std::string directory_;
};

// Root may write anywhere, so permissions cannot be tested as root; /proc refuses root too.
constexpr const char* kUnwritable = "/proc/leasehold";

TEST_F(Files, WritesAndReadsAtOffsets) {
  auto file = files_.create(path("a")).value();
  ASSERT_TRUE(file->append("0123", 4).ok());
  ASSERT_TRUE(file->append("456789", 6).ok());
  ASSERT_TRUE(file->sync().ok());
  ASSERT_TRUE(file->close().ok());

  const auto readable = files_.open(path("a")).value();
  EXPECT_EQ(readable->size_bytes(), 10);
  char bytes[5] = {};
  ASSERT_TRUE(readable->read_at(3, bytes, 4).ok());
  EXPECT_STREQ(bytes, "3456");
  EXPECT_TRUE(readable->read_at(10, bytes, 0).ok());
}

TEST_F(Files, CreateTruncatesWhatWasThere) {
  write("a", "a long content");
  write("a", "short");
  EXPECT_EQ(content("a"), "short");
}

TEST_F(Files, ReadingBeyondTheEndIsBadDataAndSaysWhere) {
  write("a", "0123456789");
  const auto readable = files_.open(path("a")).value();
  char bytes[16];
  for (const auto& [offset, size] : {std::pair{8, 3}, {10, 1}, {500, 1}}) {
    const Status status = readable->read_at(offset, bytes, size);
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find(path("a")), std::string::npos) << status.message();
  }
  // Cut by somebody else after it was opened.
  std::filesystem::resize_file(path("a"), 4);
  const Status status = readable->read_at(2, bytes, 6);
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("byte 4, 4 bytes"), std::string::npos) << status.message();
}

TEST_F(Files, MissingFilesAreMissingInput) {
  EXPECT_EQ(files_.open(path("none")).status().code(), Code::kMissingInput);
  EXPECT_EQ(files_.map(path("none")).status().code(), Code::kMissingInput);
  EXPECT_EQ(files_.list(path("none")).status().code(), Code::kMissingInput);
  EXPECT_EQ(read_file(files_, path("none")).status().code(), Code::kMissingInput);
  write("file", "x");
  EXPECT_EQ(files_.open(path("file/below")).status().code(), Code::kMissingInput);
  const std::string message = files_.open(path("none")).status().message();
  EXPECT_NE(message.find(path("none")), std::string::npos) << message;
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
}

TEST_F(Files, WhatIsNoRegularFileIsRefusedWithoutWaiting) {
  EXPECT_EQ(files_.open(directory_).status().code(), Code::kStorage);
  EXPECT_EQ(files_.map(directory_).status().code(), Code::kStorage);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(files_.open(path("pipe")).status().code(),
            Code::kStorage);  // nobody writes: a plain open would hang
}

TEST_F(Files, MapsWholeFiles) {
  write("a", "mapped bytes");
  const auto mapped = files_.map(path("a")).value();
  EXPECT_EQ(std::string_view(static_cast<const char*>(mapped->data()),
                             static_cast<size_t>(mapped->size_bytes())),
            "mapped bytes");
  write("empty", "");
  EXPECT_EQ(files_.map(path("empty")).value()->size_bytes(), 0);
}

TEST_F(Files, WritingWhereNothingCanBeWrittenIsAStorageError) {
  const std::string below = std::string(kUnwritable) + "/a";
  for (const std::string& target : {path("no/such/directory/a"), below}) {
    EXPECT_EQ(files_.create(target).status().code(), Code::kStorage);
    EXPECT_EQ(files_.create_exclusive(target, "x").code(), Code::kStorage);
    EXPECT_EQ(files_.append_line(target, "x\n").code(), Code::kStorage);
    EXPECT_EQ(files_.open_log(target).status().code(), Code::kStorage);
    EXPECT_EQ(files_.rename(target, path("b")).code(), Code::kStorage);
    EXPECT_EQ(files_.lock(target, "me").status().code(), Code::kStorage);
    EXPECT_EQ(publish_file(files_, target, "x", "t").code(), Code::kStorage);
    EXPECT_NE(files_.create(target).status().message().find(target), std::string::npos);
  }
  EXPECT_EQ(files_.make_directories(kUnwritable).code(), Code::kStorage);
  write("file", "x");
  EXPECT_EQ(files_.make_directories(path("file/below")).code(), Code::kStorage);
}

TEST_F(Files, AFullDiskIsAStorageErrorThatNamesTheFile) {
  const auto file = files_.create("/dev/full");
  ASSERT_TRUE(file.ok());
  const Status status = (*file)->append("x", 1);
  EXPECT_EQ(status.code(), Code::kStorage);
  EXPECT_NE(status.message().find("/dev/full"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("No space left"), std::string::npos) << status.message();
}

TEST_F(Files, AppendLineAppends) {
  ASSERT_TRUE(files_.append_line(path("log"), "one\n").ok());
  ASSERT_TRUE(files_.append_line(path("log"), "two\n").ok());
  EXPECT_EQ(content("log"), "one\ntwo\n");
}

TEST_F(Files, LinesOfSeveralWritersDoNotMix) {
  constexpr int kWriters = 4;
  constexpr int kLines = 200;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      const std::string line = std::string(100, static_cast<char>('a' + w)) + "\n";
      for (int i = 0; i < kLines; ++i) (void)files_.append_line(path("log"), line);
    });
  }
  for (auto& writer : writers) writer.join();
  const std::string all = content("log");
  ASSERT_EQ(all.size(), size_t{kWriters} * kLines * 101);
  for (size_t at = 0; at < all.size(); at += 101) {
    ASSERT_EQ(all.substr(at, 101), std::string(100, all[at]) + "\n");
  }
}

TEST_F(Files, ALogChangesOnlyFromTheExpectedSize) {
  write("log", "whole line\ntorn li");
  const auto log = files_.open_log(path("log")).value();
  EXPECT_EQ(log->cut(17, 11).code(), Code::kBadConfig);
  EXPECT_EQ(log->append_at(11, "next\n").code(), Code::kBadConfig);
  EXPECT_EQ(content("log"), "whole line\ntorn li");
  ASSERT_TRUE(log->cut(18, 11).ok());
  ASSERT_TRUE(log->append_at(11, "next\n").ok());
  ASSERT_TRUE(log->sync().ok());
  EXPECT_EQ(content("log"), "whole line\nnext\n");
  ASSERT_TRUE(files_.open_log(path("new")).value()->append_at(0, "first\n").ok());
  EXPECT_EQ(content("new"), "first\n");
}

// An append that fails leaves nothing, and a lock that another writer holds does not stop it.
TEST_F(Files, AppendLineRollsBackAndDoesNotHang) {
  EXPECT_EQ(files_.append_line("/dev/full", "x\n").code(), Code::kStorage);
  write("log", "one\n");
  const int fd = ::open(path("log").c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(fd, F_OFD_SETLK, &whole), 0);
  EXPECT_TRUE(files_.append_line(path("log"), "two\n").ok());
  ::close(fd);
  EXPECT_EQ(content("log"), "one\ntwo\n");
}

TEST_F(Files, ADirectoryIsNotRenamedOverOneThatHoldsSomething) {
  write("mine/a", "mine");
  write("theirs/a", "theirs");
  EXPECT_EQ(files_.rename(path("mine"), path("theirs")).code(), Code::kBadConfig);
  EXPECT_EQ(content("theirs/a"), "theirs");
  ASSERT_TRUE(files_.make_directories(path("empty")).ok());
  ASSERT_TRUE(files_.rename(path("mine"), path("empty")).ok());
  EXPECT_EQ(content("empty/a"), "mine");
}

// What is removed through an open directory is that directory's, whatever has its name by now.
TEST_F(Files, AnOpenDirectoryStaysTheSame) {
  write("d/a", "old");
  write("d/below/deep/b", "old");
  const auto directory = files_.open_directory(path("d")).value();
  ASSERT_TRUE(files_.rename(path("d"), path("aside")).ok());
  write("d/a", "new");
  EXPECT_EQ(directory->list().value(), (std::vector<std::string>{"a", "below"}));
  EXPECT_EQ(directory->read("a", 10).value(), "old");
  EXPECT_EQ(directory->read("a", 2).status().code(), Code::kBadData);
  EXPECT_EQ(directory->read("none", 2).status().code(), Code::kMissingInput);
  for (const char* name : {"a", "below", "none"}) EXPECT_TRUE(directory->remove(name).ok());
  EXPECT_TRUE(directory->sync().ok());
  EXPECT_TRUE(directory->remove_name_if_empty().ok());
  EXPECT_TRUE(files_.list(path("aside")).value().empty());
  EXPECT_EQ(content("d/a"), "new");
  const auto other = files_.open_directory(path("d")).value();
  ASSERT_TRUE(other->remove("a").ok());
  ASSERT_TRUE(other->remove_name_if_empty().ok());
  EXPECT_FALSE(files_.exists(path("d")));
  EXPECT_EQ(files_.open_directory(path("d")).status().code(), Code::kMissingInput);
}

TEST_F(Files, ReadFileRefusesMoreThanItsLimit) {
  write("a", std::string(100, 'x'));
  EXPECT_EQ(read_file(files_, path("a"), 100).value().size(), 100U);
  const Status status = read_file(files_, path("a"), 99).status();
  EXPECT_EQ(status.code(), Code::kBadData);
  EXPECT_NE(status.message().find("100 bytes"), std::string::npos) << status.message();
}

TEST_F(Files, PublishReplacesWholeAndLeavesNoTemporary) {
  ASSERT_TRUE(publish_file(files_, path("manifest"), "first", "1").ok());
  ASSERT_TRUE(publish_file(files_, path("manifest"), "second", "2").ok());
  EXPECT_EQ(content("manifest"), "second");
  EXPECT_EQ(names(), (std::vector<std::string>{"manifest"}));
}

TEST_F(Files, AFailedPublishLeavesTheOldAndNoTemporary) {
  ASSERT_TRUE(files_.make_directories(path("taken/inside")).ok());
  EXPECT_EQ(publish_file(files_, path("taken"), "x", "1").code(),
            Code::kStorage);  // a file cannot replace it
  EXPECT_EQ(names(), (std::vector<std::string>{"taken"}));
  EXPECT_TRUE(files_.exists(path("taken/inside")));
}

TEST_F(Files, AReaderSeesOnlyWholePublishedFiles) {
  const std::string contents[] = {std::string(50000, 'a'), std::string(70000, 'b')};
  ASSERT_TRUE(publish_file(files_, path("f"), contents[0], "0").ok());
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 40; ++i) (void)publish_file(files_, path("f"), contents[i % 2], "w");
    done = true;
  });
  int reads = 0;
  bool torn = false;
  for (; !done || reads == 0; ++reads) {
    const auto seen = read_file(files_, path("f"));
    torn |= !seen.ok() || (*seen != contents[0] && *seen != contents[1]);
  }
  writer.join();
  EXPECT_FALSE(torn) << "after " << reads << " reads";
}

TEST_F(Files, CreateExclusiveRefusesASecondOwner) {
  ASSERT_TRUE(files_.create_exclusive(path("claim"), "first").ok());
  const Status second = files_.create_exclusive(path("claim"), "second");
  EXPECT_EQ(second.code(), Code::kBadConfig);
  EXPECT_NE(second.message().find(path("claim")), std::string::npos) << second.message();
  EXPECT_EQ(content("claim"), "first");
  EXPECT_EQ(names(), (std::vector<std::string>{"claim"}));
}

// Whatever makes a file: a group that shares a run.dir sets its umask for that.
TEST_F(Files, ThePermissionsAreThoseThatTheUmaskLeaves) {
  const mode_t before = ::umask(0007);
  ASSERT_TRUE(files_.create_exclusive(path("claim"), "x").ok());
  ASSERT_TRUE(files_.append_line(path("log"), "x\n").ok());
  ASSERT_TRUE(files_.create(path("shard")).value()->close().ok());
  ASSERT_TRUE(publish_file(files_, path("published"), "x", "t").ok());
  ASSERT_TRUE(files_.lock(path("lock"), "me").ok());
  ASSERT_TRUE(files_.make_directories(path("directory")).ok());
  ::umask(before);
  for (const std::string& name : names()) {
    struct stat info {};
    ASSERT_EQ(::stat(path(name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, name == "directory" ? 0770U : 0660U) << name;
  }
}

TEST_F(Files, OfManyClaimantsOneWinsAndItsContentIsWhole) {
  constexpr int kClaimants = 8;
  for (int round = 0; round < 20; ++round) {
    const std::string name = "claim" + std::to_string(round);
    std::atomic<int> winners{0};
    std::atomic<int> winner{-1};
    std::atomic<bool> half_written{false};
    std::vector<std::thread> claimants;
    for (int c = 0; c < kClaimants; ++c) {
      claimants.emplace_back([&, c] {
        const Status status =
            files_.create_exclusive(path(name), std::string(5000, static_cast<char>('a' + c)));
        if (status.ok()) {
          ++winners;
          winner = c;
        } else if (status.code() != Code::kBadConfig ||
                   read_file(files_, path(name)).value().size() != 5000) {
          half_written = true;
        }
      });
    }
    for (auto& claimant : claimants) claimant.join();
    ASSERT_EQ(winners, 1);
    ASSERT_FALSE(half_written);
    ASSERT_EQ(content(name), std::string(5000, static_cast<char>('a' + winner)));
  }
  EXPECT_EQ(names().size(), 20U);
}

TEST_F(Files, ALockExcludesWithinTheProcessUntilReleased) {
  auto lock = files_.lock(path("lock"), "pid 1 on node a").value();
  const auto second = files_.lock(path("lock"), "pid 2 on node b");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::kBadConfig);
  EXPECT_NE(second.status().message().find("pid 1 on node a"), std::string::npos)
      << second.status().message();
  lock.reset();
  EXPECT_TRUE(files_.lock(path("lock"), "b").ok());
  EXPECT_EQ(content("lock"), "b");  // nothing of a longer former owner's text
}

// The child reports by its exit code; it must not run gtest's or the parent's destructors.
// Whoever opened the file before it was removed must not hold a lock that nobody else can see.
TEST_F(Files, ALockWhoseFileIsRemovedByItsHolderExcludesStill) {
  const std::string place = path("lock");
  std::atomic<int> holders = 0, most = 0, taken = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const auto lock = files_.lock(place, "me");
        if (!lock.ok()) continue;
        ++taken;
        most = std::max<int>(most, ++holders);
        std::this_thread::yield();
        --holders;
        EXPECT_TRUE(files_.remove_all(place).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
  EXPECT_GT(taken, 100);
}

TEST_F(Files, ALockExcludesOtherProcessesAndDiesWithItsOwner) {
  int ready[2];
  int leave[2];
  ASSERT_EQ(::pipe(ready), 0);
  ASSERT_EQ(::pipe(leave), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto lock = files_.lock(path("lock"), "the child");
    char byte = lock.ok() ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
    if (::read(leave[0], &byte, 1) != 1) ::_exit(2);
    ::_exit(0);  // without releasing
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'y');
  const auto refused = files_.lock(path("lock"), "the parent");
  ASSERT_EQ(::write(leave[1], &byte, 1), 1);
  int exit_status = 0;
  ASSERT_EQ(::waitpid(child, &exit_status, 0), child);
  EXPECT_EQ(exit_status, 0);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::kBadConfig);
  EXPECT_NE(refused.status().message().find("the child"), std::string::npos)
      << refused.status().message();
  EXPECT_TRUE(files_.lock(path("lock"), "the parent").ok());
  for (const int fd : {ready[0], ready[1], leave[0], leave[1]}) ::close(fd);
}

TEST_F(Files, ListsSortedNamesAndRemovesTrees) {
  ASSERT_TRUE(files_.make_directories(path("d/e")).ok());
  ASSERT_TRUE(files_.make_directories(path("d/e")).ok());  // again is ok
  for (const char* name : {"d/b", "d/a", "d/B", "d/e/x"}) write(name, "x");
  EXPECT_EQ(files_.list(path("d")).value(), (std::vector<std::string>{"B", "a", "b", "e"}));
  EXPECT_TRUE(files_.exists(path("d")));
  ASSERT_TRUE(files_.remove_all(path("d")).ok());
  EXPECT_FALSE(files_.exists(path("d")));
  EXPECT_TRUE(files_.remove_all(path("d")).ok());  // what is not there
}

TEST_F(Files, RenameReplaces) {
  write("from", "new");
  write("to", "old");
  ASSERT_TRUE(files_.rename(path("from"), path("to")).ok());
  EXPECT_EQ(content("to"), "new");
  EXPECT_FALSE(files_.exists(path("from")));
  EXPECT_TRUE(files_.sync_directory(directory_).ok());
  EXPECT_EQ(files_.sync_directory(path("none")).code(), Code::kStorage);
}

TEST(Paths, Arithmetic) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("a", "/b"), "/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(join_path(".", "b"), "b");
  EXPECT_EQ(join_path("/", "b"), "/b");
  EXPECT_EQ(parent_path("a/b/c"), "a/b");
  EXPECT_EQ(parent_path("a"), ".");
  EXPECT_EQ(parent_path("/a"), "/");
}

}  // namespace
}  // namespace leasehold
