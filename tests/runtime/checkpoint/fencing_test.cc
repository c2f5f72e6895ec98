// An old generation that is frozen at any operation of what it does, and goes on after a newer one
// has taken over, harms nothing of the newer one's.
#include <algorithm>
#include <condition_variable>
#include <gtest/gtest.h>
#include <sstream>
#include <thread>

#include "runtime/checkpoint/json_lines.h"
#include "runtime/checkpoint/run_directory.h"
#include "tests/runtime/checkpoint/sample_state.h"
#include "tests/support/faulty_files.h"
#include "tests/support/held_files.h"

namespace leasehold {
namespace {

// Lets one of two threads act at a time: the old writer does `first` operations, then the new one
// `second`, then the old one goes on to its end, then the new one to its own.
class Turns {
 public:
  Turns(int64_t first, int64_t second) : quota_{first, second} {}

  // Before each operation of that writer.
  void await(size_t writer) {
    std::unique_lock lock(mutex_);
    if (quota_[writer] == 0) give_to(1 - writer);
    --quota_[writer];
    changed_.wait(lock, [&] { return turn_ == writer; });
  }
  void start(size_t writer) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return turn_ == writer; });
  }
  void end(size_t writer) {
    const std::lock_guard lock(mutex_);
    ended_[writer] = true;
    reached_ = reached_ && quota_[writer] < 0;
    give_to(1 - writer);
  }
  // Both writers had more operations than they were given at first.
  bool reached() const { return reached_; }

 private:
  void give_to(size_t writer) {
    if (!ended_[writer]) turn_ = writer;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t quota_[2];
  bool ended_[2] = {false, false};
  size_t turn_ = 0;
  bool reached_ = true;
};

using Act = std::function<void(FileSystem&)>;

// False when a writer has fewer operations than it was given at first.
bool interleave(FileSystem& files, int64_t first, int64_t second, const Act& old_writer,
                const Act& new_writer) {
  Turns turns(first, second);
  const auto run = [&](size_t writer, const Act& act) {
    HeldFiles own(files);
    own.set_hook([&] { turns.await(writer); });
    turns.start(writer);
    act(own);
    turns.end(writer);
  };
  std::thread old_thread(run, 0, old_writer);
  std::thread new_thread(run, 1, new_writer);
  old_thread.join();
  new_thread.join();
  return turns.reached();
}

const std::map<std::string, Shape>& fenced_shapes() {
  static const std::map<std::string, Shape> few = {{"a", {2, 3}}, {"b", {5}}};
  return few;
}

CheckpointInfo info_of(int64_t step, int64_t generation) {
  CheckpointInfo info = sample_info(step);
  info.generation = generation;
  return info;
}

Status remove_old(FileSystem& files, int64_t generation) {
  std::set<int64_t> usable;
  return remove_old_checkpoints(files, "run", {.newest = 1, .generation = generation}, usable);
}

class Fencing : public testing::Test {
 protected:
  const SampleState old_state_ = random_state(fenced_shapes(), 1);  // step 10
  const SampleState state_ = random_state(fenced_shapes(), 2);      // step 20, of both generations
  const SampleState newest_state_ = random_state(fenced_shapes(), 3);  // step 30
  ManualClock clock_{1.7e9};

  // As generation 3 left it: step 10, and its claim.
  void begin(FaultyFiles& files) const {
    ASSERT_TRUE(save_whole(files, "run", info_of(10, 2), old_state_).ok());
    files.set_content("run/generations/3/claim", "host a");
    files.set_content("run/metrics.jsonl", line_of(10, 2) + "\n");
  }

  // What generation 4 does, all of which has to succeed.
  void take_over(FileSystem& files) {
    const auto run = RunDirectory::claim(files, "run", {.owner = "b", .generation = 4}, clock_);
    ASSERT_TRUE(run.ok()) << run.status().message();
    for (const auto& [step, state] : {std::pair(20, state_), std::pair(30, newest_state_)}) {
      const Status logged = (*run)->publish_metrics(step, line_of(step, 4));
      ASSERT_TRUE(logged.ok()) << logged.message();
      ASSERT_TRUE((*run)->sync_metrics().ok());
      const Status saved = save_whole(files, "run", info_of(step, 4), state);
      ASSERT_TRUE(saved.ok()) << saved.message();
      ASSERT_TRUE((*run)->append_event("saved", std::to_string(step)).ok());
    }
    ASSERT_TRUE((*run)->set_lineage("newer").ok());
    ASSERT_EQ((*run)->lineage().value(), "newer");
  }

  static std::string line_of(int64_t step, int64_t generation) {
    return fmt::format(R"({{"step": {}, "loss": 1, "grad_norm": 2, "generation": {}}})", step,
                       generation);
  }

  // Every line is whole and none of the newer generation is missing; a line of the older one may
  // stand where that generation's own would.
  static void expect_log_intact(FaultyFiles& files, const std::string& where) {
    const std::string text = files.content("run/metrics.jsonl");
    ASSERT_TRUE(text.ends_with('\n')) << text << where;
    std::vector<int64_t> steps;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      ASSERT_TRUE(is_json_object(line)) << text << where;
      steps.push_back(find_step(line).value());
    }
    ASSERT_EQ(steps, (std::vector<int64_t>{10, 20, 30})) << text << where;
    ASSERT_EQ(read_lineage(files, "run").value(), "newer") << where;
    const std::string events = files.content("run/events.jsonl");
    for (const char* reason : {"\"reason\":\"20\"", "\"reason\":\"30\""})
      ASSERT_NE(events.find(reason), std::string::npos) << events << where;
  }

  void expect_intact(FaultyFiles& files, const std::string& where) const {
    expect_log_intact(files, where);
    const auto newest = load_newest_good(files, "run");
    ASSERT_TRUE(newest.ok()) << newest.status().message() << where;
    ASSERT_EQ(newest->step, 30) << where;
    ASSERT_EQ(newest->state, newest_state_) << where;
    const auto second = load_whole(files, "run/checkpoints/step-00000020");
    ASSERT_TRUE(second.ok()) << second.status().message() << where;
    ASSERT_EQ(second.value(), state_) << where;
  }

  // One change of turns before each operation of the old writer, and back before each one of the
  // newer: with a stride of 1 every pair (more than 10,000 in all), else each with every eleventh.
  static constexpr int64_t kStride = 11;
  void expect_intact_after_every(const std::function<void(FaultyFiles&)>& prepare,
                                 const Act& old_writer) {
    int64_t num_tried = 0;
    bool any = true;
    for (int64_t first = 0; any; ++first) {
      any = false;
      for (int64_t second = 1 + first % kStride; !HasFatalFailure(); second += kStride) {
        FaultyFiles files;
        begin(files);
        prepare(files);
        if (!interleave(files, first, second, old_writer,
                        [&](FileSystem& own) { take_over(own); })) {
          break;
        }
        any = true;
        ++num_tried;
        expect_intact(files, fmt::format(", frozen before operation {}, woken before operation {} "
                                         "of the newer generation",
                                         first, second));
      }
    }
    EXPECT_GT(num_tried, 60);
  }
};

TEST_F(Fencing, ASaveOfTheSameStep) {
  expect_intact_after_every(
      [](FaultyFiles&) {},
      [&](FileSystem& files) { (void)save_whole(files, "run", info_of(20, 3), state_); });
}

TEST_F(Fencing, ASaveInPlaceOfADamagedCheckpoint) {
  for (const char* damaged : {"manifest.json", "shard-00000-of-00001.safetensors"}) {
    expect_intact_after_every(
        [&](FaultyFiles& files) {
          ASSERT_TRUE(save_whole(files, "run", info_of(20, 3), state_).ok());
          const std::string path = std::string("run/checkpoints/step-00000020/") + damaged;
          files.flip_bit(path, std::ssize(files.content(path)) * 8 - 20);
        },
        [&](FileSystem& files) { (void)save_whole(files, "run", info_of(20, 3), state_); });
  }
}

TEST_F(Fencing, RemovingWhatIsOldOrLeftOver) {
  expect_intact_after_every(
      [&](FaultyFiles& files) {
        files.set_content("run/checkpoints/step-00000020/shard", "no manifest");
        files.set_content("run/checkpoints/step-00000005/manifest.json", "damaged and old");
        files.set_content("run/checkpoints/.tmp-removed-step-00000030/manifest.json", "set aside");
      },
      [](FileSystem& files) { (void)remove_old(files, 3); });
}

// From its claim on: it reads and repairs the logs, and appends to them on a disk that fails.
TEST_F(Fencing, ABeginAndItsLines) {
  for (const bool failing : {false, true}) {
    expect_intact_after_every(
        [](FaultyFiles& files) {
          ASSERT_TRUE(files.remove_all("run/generations/3").ok());
          files.set_content("run/metrics.jsonl", line_of(10, 2) + "\n" + "{\"step\": 20, \"lo");
        },
        [&](FileSystem& files) {
          const auto run =
              RunDirectory::claim(files, "run", {.owner = "a", .generation = 3}, clock_);
          if (!run.ok()) return;
          (void)(*run)->set_lineage("older");
          if (failing) FaultyFiles::fail_next_append_here();
          for (int attempt = 0; attempt < 2; ++attempt) {
            (void)(*run)->publish_metrics(20, line_of(20, 3));
            (void)(*run)->append_event("began", "by the older one");
          }
        });
  }
}

// What such a generation left is gone with the next one.
TEST_F(Fencing, LeftoversOfOlderGenerationsGo) {
  FaultyFiles files;
  begin(files);
  files.set_content("run/checkpoints/.tmp-step-00000020-g0003/shard", "half");
  files.set_content("run/checkpoints/.tmp-step-00000020-g0005/shard", "half");
  files.set_content("run/checkpoints/.tmp-removed-step-00000007/shard", "by an older program");
  ASSERT_TRUE(remove_leftovers(files, "run", 4).ok());
  EXPECT_EQ(files.list("run/checkpoints").value(),
            (std::vector<std::string>{".tmp-step-00000020-g0005", "step-00000010"}));
}

TEST_F(Fencing, WhatANewerGenerationWroteIsNotRemoved) {
  FaultyFiles files;
  begin(files);
  for (const int64_t step : {20, 30, 40})
    ASSERT_TRUE(save_whole(files, "run", info_of(step, 4), state_).ok());
  ASSERT_TRUE(remove_old(files, 3).ok());
  EXPECT_EQ(files.list("run/checkpoints").value(),
            (std::vector<std::string>{"step-00000020", "step-00000030", "step-00000040"}));
  ASSERT_TRUE(remove_old(files, 4).ok());
  EXPECT_EQ(files.list("run/checkpoints").value(), std::vector<std::string>{"step-00000040"});
}

}  // namespace
}  // namespace leasehold
