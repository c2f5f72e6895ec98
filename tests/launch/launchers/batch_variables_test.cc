#include "launch/launchers/batch_variables.h"

#include <cstdlib>
#include <gtest/gtest.h>

namespace leasehold {
namespace {

TEST(BatchVariables, AreThoseOfAllocationsAndRanks) {
  for (const char* name :
       {"SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NODELIST", "SLURMD_NODENAME", "PMI_RANK", "PMI_FD",
        "PMIX_RANK", "PMIX_SERVER_URI2", "PBS_NODEFILE", "PBS_JOBID", "LSB_HOSTS", "LSB_MCPU_HOSTS",
        "SGE_TASK_ID", "PE_HOSTFILE", "FLUX_JOB_ID", "OMPI_COMM_WORLD_RANK"}) {
    EXPECT_TRUE(is_batch_variable(name)) << name;
  }
  for (const char* name :
       {"PATH", "HOME", "LEASEHOLD_NODE", "OMPI_MCA_btl", "HYDRA_IFACE", "MY_SLURM_JOB", "SLURM",
        "PMI", "LSF_ENVDIR", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", ""}) {
    EXPECT_FALSE(is_batch_variable(name)) << name;
  }
}

TEST(BatchVariables, AreForgotten) {
  ::setenv("SLURM_TEST_A", "1", 1);
  ::setenv("SLURM_TEST_B", "2", 1);
  ::setenv("OTHER_TEST_C", "3", 1);
  forget_batch_system();
  EXPECT_EQ(std::getenv("SLURM_TEST_A"), nullptr);
  EXPECT_EQ(std::getenv("SLURM_TEST_B"), nullptr);
  EXPECT_STREQ(std::getenv("OTHER_TEST_C"), "3");
  ::unsetenv("OTHER_TEST_C");
}

}  // namespace
}  // namespace leasehold
