// A read that hangs costs its caller the limit and no more.
#include "runtime/base/limited_reader.h"

#include <chrono>
#include <condition_variable>
#include <gtest/gtest.h>
#include <mutex>
#include <numeric>
#include <thread>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

// Shared with files whose reads hang, which outlive a test's reader.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false;
  int passed = 0;
  void open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
};

class HangingFile : public ReadableFile {
 public:
  explicit HangingFile(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  int64_t size_bytes() const override { return 100; }
  Status read_at(int64_t, void*, int64_t) override {
    std::unique_lock lock(gate_->mutex);
    gate_->changed.wait(lock, [&] { return gate_->is_open; });
    ++gate_->passed;
    gate_->changed.notify_all();
    return ok_status();
  }

 private:
  std::shared_ptr<Gate> gate_;
};

TEST(LimitedReader, ReadsWhatIsThereFromManyThreads) {
  const TemporaryDirectory directory;
  const std::string path = directory / "numbers";
  std::string content(1 << 16, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  ASSERT_TRUE(publish_file(posix_files(), path, content, "t").ok());
  LimitedReader reader(posix_files().open(path).value(), path, 30);
  EXPECT_EQ(reader.size_bytes(), std::ssize(content));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int64_t i = t; i < 400; i += 4) {
        std::string got;
        const Status read = reader.read_at(100 * i, 128, [&](std::span<const uint8_t> bytes) {
          got.assign(bytes.begin(), bytes.end());
        });
        EXPECT_TRUE(read.ok());
        EXPECT_EQ(got, content.substr(static_cast<size_t>(100 * i), 128));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Status beyond = reader.read_at(std::ssize(content) - 1, 2, [](auto) { FAIL(); });
  EXPECT_EQ(beyond.code(), Code::kBadData);
  EXPECT_TRUE(reader.read_at(0, 1, [](auto) {}).ok()) << "a bad read spoils no other";
}

TEST(LimitedReader, AReadThatHangsIsGivenUpAndNamed) {
  const auto gate = std::make_shared<Gate>();
  {
    LimitedReader reader(std::make_unique<HangingFile>(gate), "gone/train.bin", 0.05);
    for (int i = 0; i < 2; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const Status read = reader.read_at(8, 16, [](auto) { FAIL(); });
      EXPECT_EQ(read.code(), Code::kUnavailable);
      EXPECT_NE(read.message().find("gone/train.bin: 16 bytes at byte 8"), std::string::npos)
          << read.message();
      EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
    }
  }  // does not wait for the read
  gate->open();
  std::unique_lock lock(gate->mutex);
  EXPECT_TRUE(
      gate->changed.wait_for(lock, std::chrono::seconds(30), [&] { return gate->passed == 1; }));
}

}  // namespace
}  // namespace leasehold
