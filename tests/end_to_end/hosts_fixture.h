// Provides a supervised run over test hosts (launch/test_hosts), each with its own network, name
// and shared memory. If they cannot be made, the test skips itself with the reason. No host
// outlives its test.
#pragma once

#include <string>
#include <vector>

#include "tests/end_to_end/launch_fixture.h"

namespace leasehold {

class HostsFixture : public LaunchFixture {
 public:
  ~HostsFixture() override;

 protected:
  explicit HostsFixture(int64_t steps) : LaunchFixture(steps) {}
  void SetUp() override;

  std::string host(int number) const;  // from 1 on
  Process& launch_on_hosts();
  // Runs launch/test_hosts with these arguments.
  Finished hosts(const std::vector<std::string>& arguments, double timeout_s = 15) const;
  // Lists the shared memory of a host.
  std::string memory_of(int number) const;

 private:
  std::string prefix_;
  std::string head_;  // this machine's address among the hosts
};

}  // namespace leasehold
