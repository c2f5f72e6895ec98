#include "tests/end_to_end/hosts_fixture.h"

#include <cstdlib>
#include <sstream>
#include <unistd.h>

#include "runtime/base/files.h"

namespace leasehold {

namespace {

constexpr int kCannot = 77;  // exit code of launch/test_hosts: impossible on this machine

std::string word_after(const std::string& text, const std::string& key) {
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (word == key && words >> word) return word;
  }
  return "";
}

// Returns the arguments that keep Open MPI to the hosts' network, since this machine has others.
// MPICH needs none.
std::string network_arguments(const std::string& launcher, const std::string& network,
                              const std::string& directory) {
  const Finished version = run_program({launcher, "--version"}, directory, 30);
  const auto parameters = [&](const std::string& option, const std::string& runtime) {
    return fmt::format("\"--mca\", \"btl_tcp_if_include\", \"{0}\", \"{1}\", \"{2}\", \"{0}\"",
                       network, option, runtime);
  };
  if (version.output.find("(Open MPI) 4.") != std::string::npos) {
    return parameters("--mca", "oob_tcp_if_include");
  }
  if (version.output.find("(Open MPI) 5.") != std::string::npos) {
    return parameters("--prtemca", "prte_if_include");
  }
  return "";
}

}  // namespace

void HostsFixture::SetUp() {
  prefix_ = fmt::format("lh{}", ::getpid());
  const Finished up = hosts({"up", "2"}, 30);
  if (up.exit_code == kCannot) GTEST_SKIP() << up.errors;
  ASSERT_EQ(up.exit_code, 0) << up.errors;
  head_ = word_after(up.output, "head");
  const std::string network = word_after(up.output, "network");
  const auto job = read_file(posix_files(), job_);
  throw_if_error(job.status());
  // [launch] is the last table of the job.
  const std::string keys =
      fmt::format("hosts = \"{}\"\nmpirun_args = [{}]\n", word_after(up.output, "agent"),
                  network_arguments(launcher(), network, directory_.path()));
  throw_if_error(publish_file(posix_files(), job_, *job + keys, "test"));
}

HostsFixture::~HostsFixture() {
  if (!prefix_.empty()) hosts({"down"}, 30);
}

std::string HostsFixture::host(int number) const { return fmt::format("{}-{}", prefix_, number); }

Process& HostsFixture::launch_on_hosts() { return launch({"--address", head_}); }

Finished HostsFixture::hosts(const std::vector<std::string>& arguments, double timeout_s) const {
  const char* script = std::getenv("LEASEHOLD_TEST_HOSTS");
  LEASEHOLD_CHECK(script != nullptr, "LEASEHOLD_TEST_HOSTS is not set");
  std::vector<std::string> command = {script};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_program(
      command, directory_.path(), timeout_s,
      {"LEASEHOLD_HOSTS_PREFIX=" + prefix_, fmt::format("LEASEHOLD_HOSTS_OWNER={}", ::getpid())});
}

std::string HostsFixture::memory_of(int number) const {
  const Finished listed = hosts({"agent", host(number), "ls", "/dev/shm"});
  return listed.exit_code == 0 ? listed.output : listed.errors;
}

}  // namespace leasehold
