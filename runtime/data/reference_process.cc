#include "runtime/data/reference_process.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/json_reader.h"
#include "runtime/data/reference_script.h"

extern char** environ;

namespace leasehold {

namespace {

constexpr double kBytesPerSecond = 16384;
constexpr double kEndS = 5, kPollS = 0.01;
constexpr uint32_t kMaxAnswerBytes = uint32_t{1} << 30;
constexpr std::array<int, 2> kOldestVersion = {0, 19};  // the first version with ignore_merges
constexpr int kAnswerDepth = 4;
static_assert(std::endian::native == std::endian::little, "ids and lengths travel as they are");

// Returns true for a version like "0.23.3" that is not older than kOldestVersion.
bool is_new_enough(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return false;
  return std::array<int, 2>{major, minor} >= kOldestVersion;
}

// Starts Python in its own process group, so that a terminal's Ctrl-C reaches only this program.
// Returns 0, or errno.
int spawn_python(const std::string& python, int socket, pid_t& pid) {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, socket, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::string name = python, option = "-c", script(reference_script());
  std::array<char*, 4> arguments = {name.data(), option.data(), script.data(), nullptr};
  std::vector<std::string> texts = {"TOKENIZERS_PARALLELISM=false"};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("TOKENIZERS_PARALLELISM="))
      texts.emplace_back(*entry);
  }
  std::vector<char*> variables;
  for (std::string& text : texts) variables.push_back(text.data());
  variables.push_back(nullptr);
  const int problem =
      ::posix_spawnp(&pid, name.c_str(), &actions, &attributes, arguments.data(), variables.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return problem;
}

}  // namespace

ReferenceProgram reference_program_from_environment() {
  ReferenceProgram program;
  const char* python = std::getenv("LEASEHOLD_PYTHON");
  if (python != nullptr && *python != '\0') program.python = python;
  return program;
}

std::string reference_install_command() {
  return "python3 -m venv ~/leasehold-python && ~/leasehold-python/bin/pip install "
         "'tokenizers>=0.19' && export LEASEHOLD_PYTHON=~/leasehold-python/bin/python";
}

Result<std::unique_ptr<ReferenceProcess>> ReferenceProcess::spawn(const ReferenceProgram& program) {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return error(Code::kUnavailable, "no socket for {}: {}", program.python, std::strerror(errno));
  }
  pid_t pid = -1;
  const int problem = spawn_python(program.python, sockets[1], pid);
  ::close(sockets[1]);
  if (problem != 0) {
    ::close(sockets[0]);
    return error(Code::kUnavailable,
                 "{} does not start: {}; name a python by LEASEHOLD_PYTHON, or "
                 "install one with the library: {}",
                 program.python, std::strerror(problem), reference_install_command());
  }
  return std::unique_ptr<ReferenceProcess>(new ReferenceProcess(program, pid, sockets[0]));
}

Result<std::unique_ptr<ReferenceProcess>> ReferenceProcess::start(const ReferenceProgram& program,
                                                                  std::string_view tokenizer_json) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto process, spawn(program));
  LEASEHOLD_RETURN_IF_ERROR(process->load(tokenizer_json));
  return process;
}

ReferenceProcess::~ReferenceProcess() {
  ::close(socket_);
  ::kill(pid_, SIGKILL);
  // A process that hangs in the kernel does not end: it is abandoned.
  const Deadline deadline = Deadline::after_s(kEndS);
  while (::waitpid(pid_, nullptr, WNOHANG) == 0 && !deadline.passed()) {
    system_clock().sleep_s(kPollS);
  }
}

Status ReferenceProcess::load(std::string_view tokenizer_json) {
  const Deadline deadline = Deadline::after_s(
      program_.start_s + static_cast<double>(tokenizer_json.size()) / kBytesPerSecond);
  const auto greeting = receive(deadline);
  if (!greeting.ok()) return greeting.status();
  if (greeting.value().kind != 'G') {
    return error(Code::kUnavailable, "{} has no library tokenizers of PyPI ({}); install it: {}",
                 program_.python, greeting.value().content, reference_install_command());
  }
  LEASEHOLD_RETURN_IF_ERROR(send('L', tokenizer_json, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(const Answer answer, receive(deadline));
  if (answer.kind != 'V') {
    return error(Code::kBadData, "the tokenizers library refuses it: {}", answer.content);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const auto about,
                             parse_strict_json(answer.content, program_.python, kAnswerDepth));
  const JsonCursor cursor(about, program_.python);
  LEASEHOLD_RETURN_IF_ERROR(cursor.expect_fields({"version", "ids"}));
  LEASEHOLD_ASSIGN_OR_RETURN(version_, cursor.field("version").string());
  LEASEHOLD_ASSIGN_OR_RETURN(num_ids_, cursor.field("ids").integer(1, INT32_MAX));
  if (is_new_enough(version_)) return ok_status();
  return error(Code::kUnavailable,
               "the tokenizers library of {} is {}, and at least {}.{} is wanted; "
               "install it: {}",
               program_.python, version_, kOldestVersion[0], kOldestVersion[1],
               reference_install_command());
}

Result<std::string> ReferenceProcess::ask(char kind, std::string_view content, char expected) {
  const Deadline deadline =
      Deadline::after_s(program_.answer_s + static_cast<double>(content.size()) / kBytesPerSecond);
  LEASEHOLD_RETURN_IF_ERROR(send(kind, content, deadline));
  LEASEHOLD_ASSIGN_OR_RETURN(Answer answer, receive(deadline));
  if (answer.kind == expected) return std::move(answer.content);
  return error(Code::kBadData, "the tokenizers library {}: {}", version_, answer.content);
}

Status ReferenceProcess::send(char kind, std::string_view content, const Deadline& deadline) {
  const auto size = static_cast<uint32_t>(content.size());
  std::string message(sizeof(size), '\0');
  std::memcpy(message.data(), &size, sizeof(size));
  (message += kind) += content;
  for (size_t sent = 0; sent < message.size();) {
    LEASEHOLD_RETURN_IF_ERROR(wait(POLLOUT, deadline));
    const ssize_t count =
        ::send(socket_, message.data() + sent, message.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EINTR && errno != EAGAIN) return lost(std::strerror(errno));
    if (count > 0) sent += static_cast<size_t>(count);
  }
  return ok_status();
}

Result<ReferenceProcess::Answer> ReferenceProcess::receive(const Deadline& deadline) {
  std::array<char, 5> head{};
  LEASEHOLD_RETURN_IF_ERROR(receive_exactly(head.data(), head.size(), deadline));
  uint32_t size = 0;
  std::memcpy(&size, head.data(), sizeof(size));
  if (size > kMaxAnswerBytes) return lost(fmt::format("an answer of {} bytes", size));
  Answer answer{head[4], std::string(size, '\0')};
  LEASEHOLD_RETURN_IF_ERROR(receive_exactly(answer.content.data(), size, deadline));
  return answer;
}

Status ReferenceProcess::receive_exactly(char* data, size_t size, const Deadline& deadline) {
  for (size_t got = 0; got < size;) {
    LEASEHOLD_RETURN_IF_ERROR(wait(POLLIN, deadline));
    const ssize_t count = ::recv(socket_, data + got, size - got, MSG_DONTWAIT);
    if (count == 0) return lost("it ended");
    if (count < 0 && errno != EINTR && errno != EAGAIN) return lost(std::strerror(errno));
    if (count > 0) got += static_cast<size_t>(count);
  }
  return ok_status();
}

Status ReferenceProcess::wait(short events, const Deadline& deadline) const {
  for (;;) {
    const double left_s = deadline.remaining_s();
    if (left_s <= 0) return lost("it did not answer in time");
    pollfd watched{.fd = socket_, .events = events, .revents = 0};
    const int ready = ::poll(&watched, 1, static_cast<int>(std::min(left_s, 3600.0) * 1000) + 1);
    if (ready > 0) return ok_status();
    if (ready < 0 && errno != EINTR) return lost(std::strerror(errno));
  }
}

Status ReferenceProcess::lost(const std::string& what) const {
  return error(Code::kUnavailable,
               "{}, which runs the tokenizers library (process {}): {}; start again, and if that "
               "does not help, try `{} -c 'import tokenizers'`",
               program_.python, pid_, what, program_.python);
}

}  // namespace leasehold
