#include "launch/supervisor/mpirun_command.h"

#include <gtest/gtest.h>

#include "tests/launch/supervisor/scene.h"

namespace leasehold {
namespace {

const std::string kExported = "|-x|LEASEHOLD_GENERATION|-x|LEASEHOLD_SUPERVISOR|-x|LEASEHOLD_TOKEN";

MpirunRequest make_request() {
  return {.train_program = "/opt/leasehold-train",
          .job_path = "/jobs/small.toml",
          .overrides = {"run.steps=5", "run.name=two words"},
          .hosts = planned_hosts({"a", "b"}),
          .generation = 7,
          .supervisor = "10.0.0.1:4711",
          .token = "secret"};
}

std::string line_of(const GenerationCommand& command) {
  return fmt::format("{}", fmt::join(command.arguments, "|"));
}

TEST(MpirunCommand, VirtualNodesAreAppContexts) {
  EXPECT_EQ(line_of(make_mpirun_command(make_request())),
            "mpirun|--bind-to|none|-mca|odls_base_sigkill_timeout|0|--oversubscribe|-mca|mpi_yield_"
            "when_idle|1"
            "|-np|2|-x|LEASEHOLD_NODE=a" +
                kExported +
                "|/opt/leasehold-train|/jobs/small.toml"
                "|--set|run.steps=5|--set|run.name=two words"
                "|:|-np|2|-x|LEASEHOLD_NODE=b" +
                kExported +
                "|/opt/leasehold-train|/jobs/small.toml"
                "|--set|run.steps=5|--set|run.name=two words");
}

TEST(MpirunCommand, HostsAreReachedByTheAgent) {
  MpirunRequest request = make_request();
  request.overrides.clear();
  request.hosts[1].slots = 3;
  for (const std::string agent : {"ssh", "/opt/agent"}) {
    request.launch.hosts = agent;
    EXPECT_EQ(line_of(make_mpirun_command(request)),
              fmt::format(
                  "mpirun|--bind-to|none|-mca|odls_base_sigkill_timeout|0|-mca|plm_rsh_agent|{0}"
                  "|-mca|btl|tcp,self|-host|a:2|-np|2|-x|LEASEHOLD_NODE=a{1}"
                  "|/opt/leasehold-train|/jobs/small.toml|:|-host|b:3|-np|3|-x|LEASEHOLD_NODE=b{1}"
                  "|/opt/leasehold-train|/jobs/small.toml",
                  agent, kExported));
  }
}

TEST(MpirunCommand, TheJobsArgumentsWin) {
  MpirunRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"-mca", "btl", "tcp,vader,self", "--bind-to", "core"};
  const std::string line = line_of(make_mpirun_command(request));
  EXPECT_EQ(line.find("tcp,self"), std::string::npos) << line;
  EXPECT_EQ(line.find("none"), std::string::npos) << line;
  EXPECT_LT(line.find("-mca|btl|tcp,vader,self|--bind-to|core"), line.find("-host"));
}

TEST(MpirunCommand, WhatTheJobExportsReachesAllHosts) {
  MpirunRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"-x", "UCX_TLS", "-mca", "btl_tcp_if_include", "eth1"};
  const std::string line = line_of(make_mpirun_command(request));
  EXPECT_NE(line.find("|-mca|btl_tcp_if_include|eth1|-host|a:2|"), std::string::npos) << line;
  for (const std::string node : {"a", "b"}) {
    const std::string variables =
        fmt::format("LEASEHOLD_NODE={}{}|-x|UCX_TLS|/opt/", node, kExported);
    EXPECT_NE(line.find(variables), std::string::npos) << line;
  }
}

TEST(MpirunCommand, TheTokenIsInTheEnvironmentAlone) {
  const GenerationCommand command = make_mpirun_command(make_request());
  EXPECT_EQ(line_of(command).find("secret"), std::string::npos);
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(command.environment, (Pairs{{"LEASEHOLD_GENERATION", "7"},
                                        {"LEASEHOLD_SUPERVISOR", "10.0.0.1:4711"},
                                        {"LEASEHOLD_TOKEN", "secret"}}));
  MpirunRequest request = make_request();
  request.as_root = true;
  EXPECT_EQ(make_mpirun_command(request).environment.size(), 5U);
}

}  // namespace
}  // namespace leasehold
