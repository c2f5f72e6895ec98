// Tests the command line of each launcher, and how launchers are recognized.
#include <gtest/gtest.h>

#include "tests/launch/launchers/request.h"

namespace leasehold {
namespace {

std::vector<std::unique_ptr<Launcher>> all_launchers() {
  std::vector<std::unique_ptr<Launcher>> all;
  all.push_back(create_open_mpi_4("4.1.4"));
  all.push_back(create_open_mpi_5("5.0.7"));
  all.push_back(create_mpich("4.0.2"));
  return all;
}

constexpr const char* kTrain =
    "/opt/leasehold-train|/jobs/small.toml|--set|run.steps=5|--set|run.name=two words";

// --- All of them ---

TEST(Launchers, TheEnvironmentHoldsNoSecret) {
  for (const auto& launcher : all_launchers()) {
    for (const char* hosts : {"local", "ssh", "/opt/agent"}) {
      LaunchRequest request = make_request();
      request.launch.hosts = hosts;
      const GenerationCommand command = launcher->command(request);
      using Pairs = std::vector<std::pair<std::string, std::string>>;
      EXPECT_EQ(command.environment,
                (Pairs{{"LEASEHOLD_GENERATION", "7"}, {"LEASEHOLD_SUPERVISOR", "10.0.0.1:4711"}}));
    }
  }
}

TEST(Launchers, TheJobNamesTheProgram) {
  for (const auto& launcher : all_launchers()) {
    LaunchRequest request = make_request();
    request.mpirun = "/opt/mpi/bin/mpirun";
    EXPECT_EQ(launcher->command(request).arguments.front(), "/opt/mpi/bin/mpirun");
  }
}

TEST(Launchers, ProgramsOfAnotherMpiAreRefused) {
  struct Case {
    std::string program;
    std::vector<bool> fits;  // in the order of all_launchers
  };
  const std::vector<Case> cases = {
      {"Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4", {true, false, false}},
      {"Open MPI v5.0.7, package: Debian OpenMPI, ident: 5.0.7", {false, true, false}},
      {"MPICH Version: 4.0.2", {false, false, true}},
      {"MPICH Version: 5.0.2", {false, false, true}},
      {"Intel(R) MPI Library 2021.8 for Linux* OS", {false, false, false}},
      {"", {false, false, false}}};
  const auto launchers = all_launchers();
  for (const Case& one : cases) {
    for (size_t i = 0; i < launchers.size(); ++i) {
      const Status status = launchers[i]->check_program(one.program);
      EXPECT_EQ(status.ok(), one.fits[i]) << launchers[i]->name() << " and " << one.program;
      if (status.ok()) continue;
      EXPECT_EQ(status.code(), Code::kBadConfig);
      EXPECT_NE(status.message().find(launchers[i]->name()), std::string::npos);
      EXPECT_NE(status.message().find("launch.mpirun"), std::string::npos) << status.message();
    }
  }
}

TEST(Launchers, AreRecognizedByTheirVersion) {
  const std::vector<std::pair<std::string, std::string>> known = {
      {"mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n",
       "Open MPI 4.1.4 (ORTE)"},
      {"mpiexec (OpenRTE) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n",
       "Open MPI 4.1.4 (ORTE)"},
      {"mpirun.openmpi (Open MPI) 5.0.7\n\nReport bugs to https://...\n", "Open MPI 5.0.7 (PRRTE)"},
      {"HYDRA build details:\n    Version:                                 4.0.2\n    Release "
       "Date: "
       "Thu Apr  7\n",
       "MPICH 4.0.2 (Hydra)"},
      {"HYDRA build details:\n    Version:     5.0.2\n", "MPICH 5.0.2 (Hydra)"}};
  for (const auto& [text, name] : known) {
    const auto launcher = recognize_launcher("mpirun", text);
    ASSERT_TRUE(launcher.ok()) << launcher.status().message();
    EXPECT_EQ((*launcher)->name(), name);
  }
}

TEST(Launchers, UnknownOnesAreRefusedWithWhatIsSupported) {
  const std::vector<std::pair<std::string, std::string>> unknown = {
      {"mpirun (Open MPI) 3.1.6\n", "mpirun (Open MPI) 3.1.6"},
      {"mpirun (Open MPI) 6.0.0\n", "mpirun (Open MPI) 6.0.0"},
      {"HYDRA build details:\n    Version:   3.3.2\n", "3.3.2"},
      {"Intel(R) MPI Library for Linux* OS, Version 2021.8 Build 20221129\n", "Intel(R) MPI"},
      {"slurm 22.05.8\n", "slurm 22.05.8"},
      {"\n", "\"\""},
      {"mpirun: unrecognized argument version\n", "unrecognized argument"}};
  for (const auto& [text, shown] : unknown) {
    const auto launcher = recognize_launcher("/opt/mpirun", text);
    ASSERT_FALSE(launcher.ok()) << text;
    EXPECT_EQ(launcher.status().code(), Code::kBadConfig);
    for (const std::string& part :
         {shown, std::string("/opt/mpirun --version"), std::string("Open MPI 4 and 5"),
          std::string("MPICH 4 and 5"), std::string("launch.mpirun")}) {
      EXPECT_NE(launcher.status().message().find(part), std::string::npos)
          << part << " is not in: " << launcher.status().message();
    }
  }
}

TEST(Launchers, AnOptionOfTheJobReplacesOursHoweverItIsWritten) {
  for (const auto& launcher : all_launchers()) {
    using Given = std::vector<std::string>;
    for (const Given& given :
         {Given{"-bind-to", "core"}, {"--bind-to", "core"}, {"--bind-to=core"}}) {
      LaunchRequest request = make_request();
      request.launch.mpirun_args = given;
      const std::string line = line_of(launcher->command(request));
      EXPECT_EQ(line.find("none"), std::string::npos) << line;
      EXPECT_NE(line.find("core"), std::string::npos) << line;
    }
  }
}

// --- Open MPI 4 ---

const std::string kOrte =
    "mpirun|--bind-to|none|-mca|odls_base_sigkill_timeout|0|-mca|ras|^slurm,gridengine,tm,lsf,alps"
    "|-mca|plm|^slurm,tm,lsf,alps";
const std::string kExported = "|-x|LEASEHOLD_GENERATION|-x|LEASEHOLD_SUPERVISOR";

TEST(OpenMpi4, VirtualNodesAreAppContexts) {
  EXPECT_EQ(
      line_of(create_open_mpi_4("4.1.4")->command(make_request())),
      fmt::format("{0}|--oversubscribe|-mca|mpi_yield_when_idle|1"
                  "|-np|2|-x|LEASEHOLD_NODE=a{1}|{2}|:|-np|2|-x|LEASEHOLD_NODE=b.x.org{1}|{2}",
                  kOrte, kExported, kTrain));
}

TEST(OpenMpi4, HostsAreReachedByTheAgentUnderTheirWholeNames) {
  LaunchRequest request = make_request();
  request.hosts[1].slots = 3;
  for (const std::string agent : {"ssh", "/opt/agent"}) {
    request.launch.hosts = agent;
    EXPECT_EQ(line_of(create_open_mpi_4("4.1.4")->command(request)),
              fmt::format("{0}|-mca|orte_keep_fqdn_hostnames|1|-mca|plm_rsh_agent|{1}"
                          "|-mca|btl|tcp,self|-host|a:2|-np|2|-x|LEASEHOLD_NODE=a{2}|{3}"
                          "|:|-host|b.x.org:3|-np|3|-x|LEASEHOLD_NODE=b.x.org{2}|{3}",
                          kOrte, agent, kExported, kTrain));
  }
}

TEST(OpenMpi4, TheJobsArgumentsWin) {
  LaunchRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"-mca", "btl", "tcp,vader,self", "--bind-to", "core"};
  const std::string line = line_of(create_open_mpi_4("4.1.4")->command(request));
  EXPECT_EQ(line.find("tcp,self"), std::string::npos) << line;
  EXPECT_EQ(line.find("none"), std::string::npos) << line;
  EXPECT_LT(line.find("-mca|btl|tcp,vader,self|--bind-to|core"), line.find("-host"));
}

TEST(OpenMpi4, WhatTheJobExportsReachesAllHosts) {
  LaunchRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"-x", "UCX_TLS", "-mca", "btl_tcp_if_include", "eth1"};
  const std::string line = line_of(create_open_mpi_4("4.1.4")->command(request));
  EXPECT_NE(line.find("|-mca|btl_tcp_if_include|eth1|-host|a:2|"), std::string::npos) << line;
  for (const std::string node : {"a", "b.x.org"}) {
    const std::string variables =
        fmt::format("LEASEHOLD_NODE={}{}|-x|UCX_TLS|/opt/", node, kExported);
    EXPECT_NE(line.find(variables), std::string::npos) << line;
  }
}

// --- Open MPI 5 ---

const std::string kPrrte =
    "|--prtemca|odls_base_sigkill_timeout|0|--prtemca|ras|^slurm,pbs,lsf,gridengine,flux"
    "|--prtemca|plm|^slurm,pbs,lsf,pals,tm";

TEST(OpenMpi5, VirtualNodesAreOneAppContext) {
  EXPECT_EQ(
      line_of(create_open_mpi_5("5.0.7")->command(make_request())),
      fmt::format("mpirun|--bind-to|none|--map-by|:OVERSUBSCRIBE{}|--mca|mpi_yield_when_idle|1"
                  "|-np|4{}|/opt/leasehold|node|a:2,b.x.org:2|--|{}",
                  kPrrte, kExported, kTrain));
}

TEST(OpenMpi5, HostsKeepTheirOrderAndNames) {
  LaunchRequest request = make_request();
  request.hosts[1].slots = 3;
  for (const std::string agent : {"ssh", "/opt/agent"}) {
    request.launch.hosts = agent;
    EXPECT_EQ(line_of(create_open_mpi_5("5.0.7")->command(request)),
              fmt::format("mpirun|--bind-to|none|--map-by|seq{}"
                          "|--prtemca|prte_keep_fqdn_hostnames|1|--prtemca|plm_ssh_agent|{}"
                          "|--mca|btl|tcp,self|--host|a,a,b.x.org,b.x.org,b.x.org|-np|5{}"
                          "|/opt/leasehold|node|a:2,b.x.org:3|--|{}",
                          kPrrte, agent, kExported, kTrain));
  }
}

TEST(OpenMpi5, TheJobsArgumentsWin) {
  LaunchRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"--mca", "btl", "tcp,sm,self", "--bind-to",
                                "core",  "-x",  "UCX_TLS"};
  const std::string line = line_of(create_open_mpi_5("5.0.7")->command(request));
  EXPECT_EQ(line.find("tcp,self"), std::string::npos) << line;
  EXPECT_EQ(line.find("none"), std::string::npos) << line;
  EXPECT_NE(line.find("--mca|btl|tcp,sm,self|--bind-to|core|-x|UCX_TLS|/opt/leasehold|node"),
            std::string::npos)
      << line;
}

TEST(OpenMpi5, MayRunAsRoot) {
  LaunchRequest request = make_request();
  request.as_root = true;
  const auto environment = create_open_mpi_5("5.0.7")->command(request).environment;
  EXPECT_EQ(environment.size(), 6U);
  EXPECT_EQ(environment.back().first, "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM");
  EXPECT_EQ(create_open_mpi_4("4.1.4")->command(request).environment.size(), 4U);
}

// --- MPICH ---

TEST(Mpich, VirtualNodesAreHostsThatAreForked) {
  EXPECT_EQ(line_of(create_mpich("4.0.2")->command(make_request())),
            fmt::format("mpirun|-bind-to|none|-print-all-exitcodes|-rmk|user|-launcher|fork"
                        "|-hosts|a:2,b.x.org:2|-np|2|-env|LEASEHOLD_NODE|a|{0}"
                        "|:|-np|2|-env|LEASEHOLD_NODE|b.x.org|{0}",
                        kTrain));
}

TEST(Mpich, HostsAreReachedBySshOrLikeRsh) {
  LaunchRequest request = make_request();
  request.launch.hosts = "ssh";
  EXPECT_NE(line_of(create_mpich("4.0.2")->command(request))
                .find("|-launcher|ssh|-localhost|10.0.0.1|-hosts|a:2,b.x.org:2|"),
            std::string::npos);
  request.launch.hosts = "/opt/agent";
  EXPECT_NE(line_of(create_mpich("4.0.2")->command(request))
                .find("|-launcher|rsh|-launcher-exec|/opt/agent|-localhost|10.0.0.1|-hosts|"),
            std::string::npos);
}

TEST(Mpich, TheJobsArgumentsWin) {
  LaunchRequest request = make_request();
  request.launch.hosts = "ssh";
  request.launch.mpirun_args = {"-bind-to", "core",    "-localhost", "head",
                                "-genv",    "UCX_TLS", "tcp"};
  const std::string line = line_of(create_mpich("4.0.2")->command(request));
  EXPECT_EQ(line.find("none"), std::string::npos) << line;
  EXPECT_EQ(line.find("10.0.0.1"), std::string::npos) << line;
  EXPECT_NE(line.find("|-bind-to|core|-localhost|head|-genv|UCX_TLS|tcp|-np|"), std::string::npos)
      << line;
}

}  // namespace
}  // namespace leasehold
