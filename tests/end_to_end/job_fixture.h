// Provides a tiny job on disk and the commands that a user would give for it. The programs,
// including mpirun (cmake/launcher.cmake), come from the build directory LEASEHOLD_BUILD.
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

  // Returns `mpirun -np RANKS leasehold-train job.toml --set run.dir=NAME` and the arguments.
  std::vector<std::string> train_command(int ranks, const std::string& name,
                                         const std::vector<std::string>& arguments = {}) const;
  Finished train(int ranks, const std::string& name, const std::vector<std::string>& arguments = {},
                 double timeout_s = 60) const;
  // Runs the light tool, or leasehold-train without mpirun.
  Finished tool(const std::vector<std::string>& arguments) const;
  Finished train_tool(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment = {}) const;
  // Returns variables that hide every GPU, of the machine and of the emulation.
  static std::vector<std::string> without_gpus();

  std::string run_dir(const std::string& name) const { return directory_ / name; }
  // Checks that a program ended by itself with this code, and printed each of the words to stderr.
  static void expect_ended(const Finished& finished, int exit_code,
                           const std::vector<std::string>& words);
  // Returns, for each line of metrics.jsonl, step, loss, grad_norm, lr and validation_loss as
  // written.
  std::vector<std::string> metrics(const std::string& name) const;
  std::string events(const std::string& name) const;
  std::string state_digest(const std::string& name) const;

  std::string program(const std::string& name) const;
  std::vector<std::string> mpi_environment() const;

  TemporaryDirectory directory_;
  std::string job_;
  bool a_node_each_ = false;  // each rank of train_command() is a node of its own
};

}  // namespace leasehold
