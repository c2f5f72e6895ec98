// Tests that a run keeps one kernel set of OpenBLAS, on every rank and after every stop.
#include "tests/end_to_end/job_fixture.h"

namespace leasehold {
namespace {

class KernelSetsTest : public JobFixture {
 protected:
  static std::vector<std::string> with(const std::string& set,
                                       const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"--set", "run.steps=6", "--set",
                                          "device.cpu_kernels=" + set};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // Runs one rank without mpirun.
  Finished alone(const std::string& name, const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment = {}) const {
    std::vector<std::string> command = {job_, "--set", "run.dir=" + run_dir(name)};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return train_tool(command, environment);
  }
  bool has_sets() const { return alone("dry", with("Nehalem", {"--dry-run"})).exit_code == 0; }
};

TEST_F(KernelSetsTest, ARunThatIsMovedToAnotherSetIsRefusedByNameAndGoesOnWithItsOwn) {
  if (!has_sets()) GTEST_SKIP() << "no known sets: the library chooses";
  expect_ended(alone("moved", with("Nehalem", {"--stop-after", "3"})), 75,
               {"cpu_kernels: Nehalem of OpenBLAS: device.cpu_kernels names it"});
  EXPECT_NE(tool({"inspect", run_dir("moved")}).output.find("Nehalem of OpenBLAS"),
            std::string::npos);
  expect_ended(train(2, "moved", with("Haswell")), 78,
               {"Nehalem", "uses Haswell", "device.cpu_kernels = \"Nehalem\""});
  expect_ended(alone("moved", with("auto"), {"OPENBLAS_CORETYPE=Haswell"}), 78,
               {"kernel set Nehalem", "bound to Haswell by OPENBLAS_CORETYPE", "--fork"});
  expect_ended(train(2, "moved", with("auto")), 0, {"the run was computed with it"});

  EXPECT_EQ(alone("whole", with("auto"), {"OPENBLAS_CORETYPE=nehalem"}).exit_code, 0);
  EXPECT_EQ(metrics("moved"), metrics("whole"));
  EXPECT_EQ(state_digest("moved"), state_digest("whole"));
  // The two sets do compute different bits.
  EXPECT_EQ(alone("other", with("Haswell")).exit_code, 0);
  EXPECT_NE(state_digest("other"), state_digest("whole"));
}

TEST_F(KernelSetsTest, OtherBitsAreForThoseWhoAskForThem) {
  if (!has_sets()) GTEST_SKIP() << "no known sets: the library chooses";
  for (const char* name : {"forked", "reported"})
    ASSERT_EQ(alone(name, with("Nehalem", {"--stop-after", "3"})).exit_code, 75);
  EXPECT_EQ(alone("forked", with("Haswell", {"--fork"})).exit_code, 0);
  expect_ended(alone("reported", with("Haswell", {"--set", "run.identity=report"})), 0,
               {"cpu_kernels_differ: Nehalem so far, Haswell from here on", "arithmetic_differs"});
}

TEST_F(KernelSetsTest, RanksThatAreGivenDifferentSetsAreRefused) {
  if (!has_sets()) GTEST_SKIP() << "no known sets: the library chooses";
  std::vector<std::string> command = train_command(1, "mixed", with("Haswell"));
  const std::vector<std::string> second = train_command(1, "mixed", with("Nehalem"));
  command.emplace_back(":");
  command.insert(command.end(), std::find(second.begin(), second.end(), "-np"), second.end());
  expect_ended(run_program(command, directory_.path(), 60, mpi_environment()), 78,
               {"rank 1", "device.cpu_kernels is \"Nehalem\" here and \"Haswell\" on rank 0"});
  const Finished dry = alone("mixed", with("auto", {"--dry-run"}));
  EXPECT_NE(dry.output.find(" of OpenBLAS: the best that this processor runs"), std::string::npos)
      << dry.output;
  expect_ended(alone("unknown", with("Pentium")), 78, {"device.cpu_kernels", "Pentium", "Haswell"});
}

}  // namespace
}  // namespace leasehold
