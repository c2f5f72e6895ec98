#include "launch/job_schema.h"

#include <gtest/gtest.h>
#include <set>

#include "runtime/base/files.h"
#include "runtime/tensor/blas/kernel_sets.h"
#include "tests/launch/job_text.h"

namespace leasehold {
namespace {

TEST(JobKeys, AreDistinctAndComplete) {
  std::set<std::string> names;
  std::set<const void*> slots;
  JobFile job;
  for (const JobKey& key : job_keys()) {
    EXPECT_TRUE(names.insert(key.full_name()).second) << key.full_name();
    EXPECT_TRUE(
        slots.insert(std::visit([](auto* place) -> const void* { return place; }, key.slot(job)))
            .second)
        << key.full_name() << " shares its place with another key";
    EXPECT_FALSE(key.meaning.empty()) << key.full_name();
    EXPECT_EQ(find_job_key(key.table, key.name), &key);
    EXPECT_EQ(&nearest_job_key(key.table, key.name), &key);
    EXPECT_EQ(nearest_job_table(key.table), key.table);
  }
  EXPECT_EQ(find_job_key("run", "nothing"), nullptr);
}

// The job file's choices are the sets that there are, in their order.
TEST(JobKeys, CpuKernelsAreTheKernelSets) {
  std::vector<std::string_view> names = {"auto"};
  for (const blas::KernelSet& set : blas::kernel_sets()) names.push_back(set.name);
  EXPECT_EQ(find_job_key("device", "cpu_kernels")->choices, names);
}

// What --set stores, the printed value gives back: every key is wired to its own place and type.
TEST(JobKeys, DefaultsCanBeSetAndPrinted) {
  for (const JobKey& key : job_keys()) {
    if (key.required || !key.computed_default.empty() || key.name == "mpirun_args") continue;
    JobFile job;
    const std::string text = job_value_text(key, job);
    const Status status = assign_job_value(key, JobValue{JobValue::Text{text}}, job);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(job_value_text(key, job), text);
  }
}

TEST(JobKeys, ValuesArePrintedAsToml) {
  JobFile job;
  job.launch.mpirun_args = {"-x", "A"};
  EXPECT_EQ(job_value_toml(*find_job_key("launch", "mpirun_args"), job), "[\"-x\", \"A\"]");
  EXPECT_EQ(job_value_toml(*find_job_key("launch", "hosts"), job), "\"local\"");
  EXPECT_EQ(job_value_toml(*find_job_key("optimizer", "eps"), job), "1e-08");
  job.run.dir = R"(a"b\c)";
  EXPECT_EQ(job_value_toml(*find_job_key("run", "dir"), job), R"("a\"b\\c")");
}

TEST(NearestJobTable, IsTheOneMeant) {
  EXPECT_EQ(nearest_job_table("modle"), "model");
  EXPECT_EQ(nearest_job_table("checkpoints"), "checkpoint");
  EXPECT_EQ(nearest_job_table(std::string(100000, 'x')).empty(), false);
}

TEST(JobKeys, TheDocumentationHoldsTheTable) {
  const std::string text =
      read_file(posix_files(), LEASEHOLD_SOURCE_DIR "/docs/job_file.md").value();
  EXPECT_NE(text.find("\n" + job_keys_markdown() + "\n"), std::string::npos)
      << "docs/job_file.md differs from the table of keys; replace its table by the output of "
         "`leasehold job-keys`";
}

}  // namespace
}  // namespace leasehold
