// Provides requests and command lines for the tests of launchers.
#pragma once

#include <string>
#include <vector>

#include "launch/launchers/launcher.h"

namespace leasehold {

// Makes hosts with two slots each.
inline std::vector<PlannedHost> hosts_of_two(const std::vector<std::string>& names) {
  std::vector<PlannedHost> hosts;
  for (const std::string& name : names) {
    hosts.push_back({.host = name, .slots = 2, .lease = "lease-of-" + name});
  }
  return hosts;
}

inline LaunchRequest make_request() {
  return {.tool = "/opt/leasehold",
          .train_program = "/opt/leasehold-train",
          .job_path = "/jobs/small.toml",
          .overrides = {"run.steps=5", "run.name=two words"},
          .launch = {},
          .hosts = hosts_of_two({"a", "b.x.org"}),
          .generation = 7,
          .supervisor = "10.0.0.1:4711"};
}

inline std::string line_of(const GenerationCommand& command) {
  return fmt::format("{}", fmt::join(command.arguments, "|"));
}

}  // namespace leasehold
