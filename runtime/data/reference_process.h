// Runs Hugging Face's tokenizers library (PyPI: tokenizers) in a process of its own, for tokenizers
// that Leasehold does not implement. Python runs reference_tokenizer.py, which is part of this
// program, and answers over a socket. The process ends with this one, however this one ends.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>

#include "runtime/base/clock.h"
#include "runtime/base/status.h"

namespace leasehold {

struct ReferenceProgram {
  std::string python = "python3";  // a name on the PATH, or a path
  double start_s = 60;             // limit for starting and for reading a tokenizer
  double answer_s = 60;            // limit for an answer, plus a second for each 16 KiB
};

// Returns the Python that LEASEHOLD_PYTHON names, or else python3.
ReferenceProgram reference_program_from_environment();

// Returns the command that installs the library, for messages.
std::string reference_install_command();

class ReferenceProcess {
 public:
  // Starts the process and makes it read `tokenizer_json`. kUnavailable, with the command that
  // installs the library, if Python or the library is missing, the library is older than 0.19, or
  // no answer comes in time. kBadData if the library refuses the tokenizer.
  static Result<std::unique_ptr<ReferenceProcess>> start(const ReferenceProgram& program,
                                                         std::string_view tokenizer_json);
  ReferenceProcess(const ReferenceProcess&) = delete;
  ReferenceProcess& operator=(const ReferenceProcess&) = delete;
  ~ReferenceProcess();  // ends it

  const std::string& version() const { return version_; }  // "0.23.3"
  int64_t num_ids() const { return num_ids_; }             // largest id + 1
  pid_t pid() const { return pid_; }

  // Sends a request of one of reference_tokenizer.py's kinds, and returns the content of the
  // answer, which must be of kind `expected`. Blocks until the deadline. kBadData with the
  // library's message if it refuses. kUnavailable if the process died or is late; it must not be
  // used afterwards.
  Result<std::string> ask(char kind, std::string_view content, char expected);

 private:
  struct Answer {
    char kind = 0;
    std::string content;
  };
  ReferenceProcess(const ReferenceProgram& program, pid_t pid, int socket)
      : program_(program), pid_(pid), socket_(socket) {}
  static Result<std::unique_ptr<ReferenceProcess>> spawn(const ReferenceProgram& program);
  Status load(std::string_view tokenizer_json);
  Status send(char kind, std::string_view content, const Deadline& deadline);
  Result<Answer> receive(const Deadline& deadline);
  Status receive_exactly(char* data, size_t size, const Deadline& deadline);
  Status wait(short events, const Deadline& deadline) const;
  Status lost(const std::string& what) const;

  ReferenceProgram program_;
  pid_t pid_;
  int socket_;
  std::string version_;
  int64_t num_ids_ = 0;
};

}  // namespace leasehold
