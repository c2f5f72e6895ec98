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

// The job file's choices are the existing kernel sets, in their order.
TEST(JobKeys, CpuKernelsAreTheKernelSets) {
  std::vector<std::string_view> names = {"auto"};
  for (const blas::KernelSet& set : blas::kernel_sets()) names.push_back(set.name);
  EXPECT_EQ(find_job_key("device", "cpu_kernels")->choices, names);
}

// Printing a value gives back the text that --set stored, so every key has its own place and type.
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

// Any number for a key gives a valid job or an error in words: nothing is clamped, overflows or
// takes long.
TEST(JobKeys, AbsurdNumbersAreRefusedOrTaken) {
  const char* numbers[] = {"-9223372036854775808",
                           "-1",
                           "0",
                           "1",
                           "2147483647",
                           "2147483648",
                           "4294967296",
                           "9223372036854775807",
                           "9223372036854775808",
                           "99999999999999999999",
                           "1e18",
                           "1e308",
                           "1e309",
                           "-1e309",
                           "5e-324",
                           "nan",
                           "-inf",
                           "",
                           "0x7fffffffffffffff"};
  int taken = 0, refused = 0;
  for (const JobKey& key : job_keys()) {
    JobFile plain;
    const JobSlot slot = key.slot(plain);
    if (!std::holds_alternative<int64_t*>(slot) && !std::holds_alternative<double*>(slot)) continue;
    for (const std::string number : numbers) {
      const std::string argument = key.full_name() + "=" + number;
      auto job = parse_job(kGoodJob, "job.toml", std::vector<std::string>{argument});
      Status status = job.status();
      if (status.ok()) status = complete_job(*job, 256);
      if (status.ok()) status = validate(*job, 2);
      EXPECT_TRUE(status.ok() || status.code() == Code::kBadConfig) << argument;
      EXPECT_TRUE(status.ok() || status.message().find(key.name) != std::string::npos)
          << argument << ": " << status.message();
      ++(status.ok() ? taken : refused);
    }
  }
  EXPECT_GT(taken, 30);
  EXPECT_GT(refused, 400);
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
