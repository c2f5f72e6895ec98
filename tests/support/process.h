// Runs programs as a user does: output goes to files, every wait has a deadline, and nothing is
// left running.
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

// A running program in its own process group, which is killed with the object.
class Process {
 public:
  // Starts the program. Its output goes to files below `directory`, which must exist. `environment`
  // ("NAME=value") is added to this process's.
  Process(const std::vector<std::string>& command, const std::string& directory,
          const std::vector<std::string>& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Returns the stderr of the program so far.
  std::string errors() const;
  // Waits at most `timeout_s` until stderr contains `text`. Returns false if the text does not
  // appear in time or the program ends before.
  bool wait_for_text(const std::string& text, double timeout_s);
  // Waits for the program to end, and kills it after the deadline.
  Finished wait(double timeout_s);

 private:
  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
  std::string output_path_, errors_path_;
};

Finished run_program(const std::vector<std::string>& command, const std::string& directory,
                     double timeout_s, const std::vector<std::string>& environment = {});

// Returns the children of a process whose command line contains `text`, and such children of its
// other children.
std::vector<pid_t> children_of(pid_t parent, const std::string& text);

}  // namespace leasehold
