// Runs the conformance suite over `nccl`, with ranks as processes of one node, or each on its own
// node (LEASEHOLD_NODE). On one machine all of them share its single GPU.
#include <cstdlib>
#include <gtest/gtest.h>

#include "collectives/bootstrap.h"
#include "collectives/nccl.h"
#include "tests/collectives/mpi_main.h"
#include "tests/collectives/nccl_ranks.h"

namespace leasehold {

namespace {

const char* own_node() { return std::getenv("LEASEHOLD_NODE"); }

class NcclMpiConformanceTest : public testing::TestWithParam<size_t> {};

TEST_P(NcclMpiConformanceTest, Holds) {
  const ConformanceCase& conformance_case = conformance_cases()[GetParam()];
  if (conformance_case.needs_host_memory) GTEST_SKIP() << "its subject is host memory";
  Communicator& host = test_runtime().world();
  const std::string reason = why_no_devices(own_node() ? 1 : host.size());
  if (!reason.empty()) GTEST_SKIP() << reason;
  const auto device = make_cuda_device(own_node() ? 0 : host.rank());
  auto world = create_nccl_communicator(host, *device, "world", 60);
  ASSERT_TRUE(world.ok()) << world.status().message();
  ConformanceDevice on = conformance_device(*device);
  conformance_case.run(**world, on);
  EXPECT_TRUE((*world)->health().ok()) << (*world)->health().message();
}

INSTANTIATE_TEST_SUITE_P(Nccl, NcclMpiConformanceTest,
                         testing::Range(size_t{0}, conformance_cases().size()),
                         [](const auto& tested) {
                           return std::string(conformance_cases()[tested.param].name);
                         });

int run(int argc, char** argv) {
  if (own_node()) announce_node(own_node());
  return run_mpi_tests(argc, argv, {.timeout_s = 60, .node = own_node() ? own_node() : "test"});
}

}  // namespace

}  // namespace leasehold

int main(int argc, char** argv) { return leasehold::run(argc, argv); }
