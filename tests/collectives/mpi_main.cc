#include "tests/collectives/mpi_main.h"

#include <cstdio>
#include <gtest/gtest.h>
#include <unistd.h>

namespace leasehold {

namespace {

MpiRuntime* runtime = nullptr;

// Prints only failures, on ranks other than 0.
class FailuresOnly : public testing::EmptyTestEventListener {
 public:
  explicit FailuresOnly(int rank) : rank_(rank) {}
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", rank_,
                 result.file_name() == nullptr ? "?" : result.file_name(), result.line_number(),
                 result.summary());
  }

 private:
  int rank_;
};

}  // namespace

MpiRuntime& test_runtime() { return *runtime; }

int run_mpi_tests(int argc, char** argv, const MpiOptions& options) {
  testing::InitGoogleTest(&argc, argv);
  auto created = MpiRuntime::create(options);
  if (!created.ok()) {
    std::fprintf(stderr, "%s\n", created.status().message().c_str());
    return 1;
  }
  runtime = created->get();
  const int rank = runtime->world().rank();
  if (rank != 0) {
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailuresOnly(rank));
  }
  const int failed = RUN_ALL_TESTS();
  const Status status = failed == 0 ? runtime->finalize() : ok_status();
  if (failed != 0 || !status.ok()) {
    std::fprintf(stderr, "rank %d: %s\n", rank,
                 failed != 0 ? "tests failed" : status.message().c_str());
    std::fflush(nullptr);
    ::_exit(1);
  }
  return 0;
}

}  // namespace leasehold
