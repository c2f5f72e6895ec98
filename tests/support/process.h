// Programs as a user starts them: output to files, a deadline on every wait, nothing left behind.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace leasehold {

struct Finished {
  int exit_code = -1;      // 128 + signal when a signal ended it
  std::string output;      // stdout
  std::string errors;      // stderr
  bool timed_out = false;  // it was killed
};

// A running program in a process group of its own, which is killed with the object.
class Process {
 public:
  // Output goes to files below `directory`, which must exist. `environment` ("NAME=value") is added
  // to this process's.
  Process(const std::vector<std::string>& command, const std::string& directory,
          const std::vector<std::string>& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // What it wrote to stderr so far.
  std::string errors() const;
  // Waits until stderr contains `text`, at most `timeout_s`; false when it does not come or the
  // program ends before.
  bool wait_for_text(const std::string& text, double timeout_s);
  // Waits for the end, kills past the deadline.
  Finished wait(double timeout_s);

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
  std::string output_path_, errors_path_;
};

Finished run_program(const std::vector<std::string>& command, const std::string& directory,
                     double timeout_s, const std::vector<std::string>& environment = {});

// Children of a process whose command line contains `text`, and such children of its other
// children.
std::vector<pid_t> children_of(pid_t parent, const std::string& text);

}  // namespace leasehold
