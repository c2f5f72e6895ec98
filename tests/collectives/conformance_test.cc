// Runs the conformance suite over `self` and `threads`, on inline streams, on asynchronous streams,
// and with delays.
#include "tests/collectives/conformance.h"

#include <gtest/gtest.h>

#include "collectives/self.h"
#include "collectives/threads.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

namespace {

enum class Mode { kInline, kAsynchronous, kDelayed };

struct Setting {
  const char* implementation;
  int size;
  Mode mode;
};

std::string setting_name(const Setting& setting) {
  const char* modes[] = {"inline", "asynchronous", "delayed"};
  return fmt::format("{}_{}_{}", setting.implementation, setting.size,
                     modes[static_cast<int>(setting.mode)]);
}

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Mode mode : {Mode::kInline, Mode::kAsynchronous, Mode::kDelayed})
    all.push_back({"self", 1, mode});
  for (const int size : {1, 2, 3, 4, 5, 8}) all.push_back({"threads", size, Mode::kInline});
  for (const int size : {2, 5}) all.push_back({"threads", size, Mode::kAsynchronous});
  for (const int size : {1, 2, 3, 4, 8}) all.push_back({"threads", size, Mode::kDelayed});
  return all;
}

class ConformanceTest : public testing::TestWithParam<std::tuple<Setting, size_t>> {};

TEST_P(ConformanceTest, Holds) {
  const Setting& setting = std::get<0>(GetParam());
  const size_t index = std::get<1>(GetParam());
  const ConformanceCase& conformance_case = conformance_cases()[index];
  const uint64_t seed =
      setting.mode == Mode::kDelayed ? 20 + static_cast<uint64_t>(setting.size) : 0;
  const auto run = [&](Communicator& group) {
    const auto device = CpuDevice::create(
        {.asynchronous = setting.mode != Mode::kInline,
         .delay_seed = seed == 0 ? 0 : seed + static_cast<uint64_t>(group.rank())});
    ConformanceDevice on = conformance_device(*device);
    conformance_case.run(group, on);
  };
  if (std::string(setting.implementation) == "self") {
    run(*create_self_communicator("world"));
  } else {
    run_ranks(setting.size, {.timeout_s = 60, .delay_seed = seed}, run);
  }
}

INSTANTIATE_TEST_SUITE_P(Communicators, ConformanceTest,
                         testing::Combine(testing::ValuesIn(settings()),
                                          testing::Range(size_t{0}, conformance_cases().size())),
                         [](const auto& tested) {
                           return setting_name(std::get<0>(tested.param)) + "_" +
                                  conformance_cases()[std::get<1>(tested.param)].name;
                         });

}  // namespace

}  // namespace leasehold
