// Asks hosts whether they answer: `AGENT HOST COMMAND`, several at a time, each with a deadline.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "launch/supervisor/observation.h"

namespace leasehold {

class Prober {
 public:
  virtual ~Prober() = default;
  virtual void start(const std::string& host) = 0;  // nothing when it is being asked already
  virtual std::set<std::string> under_way() const = 0;
  virtual std::vector<ProbeResult> take_results() = 0;  // since the last call; never waits
};

// `hosts` is launch.hosts. Virtual nodes ("local") always answer; others answer when `command`,
// which is for a shell there, ends with 0; else the message has the last line that was printed.
std::unique_ptr<Prober> make_prober(const std::string& hosts, double deadline_s,
                                    const std::string& command = "true");

}  // namespace leasehold
