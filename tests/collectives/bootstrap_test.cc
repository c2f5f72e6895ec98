#include "collectives/bootstrap.h"

#include <cstdlib>
#include <gtest/gtest.h>

#include "collectives/nccl.h"
#include "collectives/self.h"
#include "runtime/device/cpu_device.h"

namespace leasehold {

namespace {

// Sets or unsets a variable of the environment for the duration of a test.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    value == nullptr ? ::unsetenv(name) : ::setenv(name, value, 1);
  }
  ~ScopedVariable() { before_.empty() ? ::unsetenv(name_) : ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* name_;
  std::string before_;
};

TEST(BootstrapTest, WithoutALauncherAProgramIsAWorldOfOneRank) {
  const ScopedVariable size("OMPI_COMM_WORLD_SIZE", nullptr), pmix("PMIX_RANK", nullptr),
      pmi("PMI_RANK", nullptr);
  const ScopedVariable node("LEASEHOLD_NODE", "lonely"), nccl("NCCL_HOSTID", nullptr);
  ASSERT_FALSE(started_by_launcher());
  auto group = ProcessGroup::create({});
  ASSERT_TRUE(group.ok()) << group.status().message();
  EXPECT_EQ((*group)->world().size(), 1);
  EXPECT_EQ((*group)->node(), "lonely");
  EXPECT_EQ((*group)->node_local_rank(), 0);
  EXPECT_EQ((*group)->node_local_size(), 1);
  EXPECT_TRUE((*group)->finish().ok());
}

TEST(BootstrapTest, AWorldThatWasGivenUpDoesNotFinishWell) {
  const ScopedVariable size("OMPI_COMM_WORLD_SIZE", nullptr), pmix("PMIX_RANK", nullptr),
      pmi("PMI_RANK", nullptr);
  auto group = ProcessGroup::create({.node = "n"});
  ASSERT_TRUE(group.ok());
  (*group)->world().abort(Status(Code::kUnavailable, "given up"));
  EXPECT_EQ((*group)->finish().message(), "given up");
}

TEST(BootstrapTest, NcclCountsARankToTheNodeThatItWasGiven) {
  const ScopedVariable size("OMPI_COMM_WORLD_SIZE", nullptr), pmix("PMIX_RANK", nullptr),
      pmi("PMI_RANK", nullptr), node("LEASEHOLD_NODE", nullptr);
  const ScopedVariable host("NCCL_HOSTID", nullptr);
  ASSERT_TRUE(ProcessGroup::create({}).ok());
  // Without a name NCCL identifies the machine itself.
  EXPECT_EQ(std::getenv("NCCL_HOSTID"), nullptr);
  ASSERT_TRUE(ProcessGroup::create({.node = "n"}).ok());
  EXPECT_STREQ(std::getenv("NCCL_HOSTID"), "n");
  ASSERT_TRUE(ProcessGroup::create({.node = "other"}).ok());
  EXPECT_STREQ(std::getenv("NCCL_HOSTID"), "n");  // a variable that is set stays
}

// Slurm started several tasks that do not know of each other.
TEST(BootstrapTest, OneOfSeveralTasksDoesNotTrainAlone) {
  const ScopedVariable size("OMPI_COMM_WORLD_SIZE", nullptr), pmix("PMIX_RANK", nullptr),
      pmi("PMI_RANK", nullptr), step("SLURM_STEP_NUM_TASKS", nullptr);
  const ScopedVariable tasks("SLURM_NTASKS", "2");
  const auto group = ProcessGroup::create({});
  EXPECT_EQ(group.status().code(), Code::kBadConfig);
  for (const char* part : {"SLURM_NTASKS=2", "--mpi=pmix", "unset SLURM_NTASKS"}) {
    EXPECT_NE(group.status().message().find(part), std::string::npos) << group.status().message();
  }
  EXPECT_TRUE(ProcessGroup::create({.may_be_alone = true}).ok());
  for (const char* one : {"1", "", "x"}) {
    const ScopedVariable alone("SLURM_NTASKS", one);
    EXPECT_TRUE(ProcessGroup::create({}).ok()) << one;
  }
}

TEST(BootstrapTest, MpirunIsSeen) {
  const ScopedVariable size("OMPI_COMM_WORLD_SIZE", "2");
  EXPECT_TRUE(started_by_launcher());
}

TEST(NcclTest, AnAbsentBackendSaysWhatToWrite) {
  if (nccl_built()) GTEST_SKIP() << "this build has NCCL";
  const auto device = CpuDevice::create({});
  const auto self = create_self_communicator("world");
  const auto made = create_nccl_communicator(*self, *device, "data", 10);
  EXPECT_EQ(made.status().code(), Code::kBadConfig);
  EXPECT_NE(made.status().message().find("write \"cpu\""), std::string::npos)
      << made.status().message();
}

}  // namespace

}  // namespace leasehold
