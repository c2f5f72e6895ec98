// A tiny job on disk and the commands that a user would give for it. Programs, mpirun among them
// (cmake/launcher.cmake), come from the build, by environment: LEASEHOLD_BUILD is their directory.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {

class JobFixture : public testing::Test {
 protected:
  JobFixture();

  // mpirun -np ranks leasehold-train job.toml --set run.dir=<name> and the rest.
  std::vector<std::string> train_command(int ranks, const std::string& name,
                                         const std::vector<std::string>& arguments = {}) const;
  Finished train(int ranks, const std::string& name, const std::vector<std::string>& arguments = {},
                 double timeout_s = 60) const;
  // The light tool, or leasehold-train without mpirun.
  Finished tool(const std::vector<std::string>& arguments) const;
  Finished train_tool(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment = {}) const;
  // As on a machine whose driver shows no GPU, or whose emulation has none.
  static std::vector<std::string> without_gpus();

  std::string run_dir(const std::string& name) const { return directory_ / name; }
  // That it ended by itself with this code, and said each of the words.
  static void expect_ended(const Finished& finished, int exit_code,
                           const std::vector<std::string>& words);
  // Per line of metrics.jsonl: step, loss, grad_norm, lr and validation_loss as written.
  std::vector<std::string> metrics(const std::string& name) const;
  std::string events(const std::string& name) const;
  std::string state_digest(const std::string& name) const;

  std::string program(const std::string& name) const;
  std::vector<std::string> mpi_environment() const;

  TemporaryDirectory directory_;
  std::string job_;
  bool a_node_each_ = false;  // whether the ranks of train_command() are nodes of their own
};

}  // namespace leasehold
