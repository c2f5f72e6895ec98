// Tests the process that runs Hugging Face's library. A module of the same name stands in for the
// library, so only Python is needed. Without python3 the tests skip.
#include "runtime/data/reference_tokenizer.h"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runtime/data/prepare.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

// Tokens are code points. Some words in a text make the module misbehave.
constexpr const char* kModule = R"(
import json, os, time
__version__ = os.environ.get("STAND_IN_VERSION", "0.21.4")
class Encoding:
    def __init__(self, ids): self.ids = ids
class Tokenizer:
    @staticmethod
    def from_str(text):
        if "refused" in json.loads(text): raise ValueError("a bad tokenizer")
        return Tokenizer()
    def no_truncation(self): print("noise")
    def no_padding(self): pass
    def get_vocab(self, with_added_tokens): return {"<end>": 70000}
    def encode(self, text, add_special_tokens):
        assert not add_special_tokens
        if "sleeps" in text: time.sleep(60)
        if "dies" in text: os._exit(3)
        if "raises" in text: raise KeyError("no such thing")
        return Encoding([ord(c) for c in text])
    def decode(self, ids, skip_special_tokens): return "".join(map(chr, ids))
)";

class ReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::system("python3 -c '' >/dev/null 2>&1") != 0) GTEST_SKIP() << "there is no python3";
    write_module(kModule);
    ::setenv("PYTHONPATH", directory_.path().c_str(), 1);
    ::setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
  }
  void TearDown() override {
    ::unsetenv("PYTHONPATH");
    ::unsetenv("STAND_IN_VERSION");
  }
  void write_module(const std::string& text) {
    std::ofstream(directory_ / "tokenizers.py") << text;
  }
  static constexpr const char* kJson = R"({"model": {"vocab": {"<end>": 70000, "a": 97}}})";
  // Returns a tokenizer whose process has started.
  Result<std::unique_ptr<Tokenizer>> create(double answer_s = 60, const char* json = kJson) {
    LEASEHOLD_ASSIGN_OR_RETURN(
        auto made,
        create_reference_tokenizer(nlohmann::json::parse(json), json, "t.json",
                                   "t.json: model: X is not implemented", {.answer_s = answer_s}));
    LEASEHOLD_RETURN_IF_ERROR(made->start());
    return made;
  }
  static void expect_unavailable(const Status& status, const std::string& part) {
    EXPECT_EQ(status.code(), Code::kUnavailable) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  }
  TemporaryDirectory directory_;
};

TEST_F(ReferenceTest, GivesWhatTheLibraryGives) {
  const auto made = create();
  ASSERT_TRUE(made.ok()) << made.status().message();
  const Tokenizer& tokenizer = *made.value();
  EXPECT_EQ(tokenizer.vocab_size(), 70001);
  EXPECT_EQ(tokenizer.encode("a\xC3\xA9\n\xF0\x9F\x98\x80").value(),
            (std::vector<int32_t>{'a', 0xE9, '\n', 0x1F600}));
  EXPECT_TRUE(tokenizer.encode("").value().empty());
  EXPECT_EQ(tokenizer.decode({{'b', 0x20AC}}).value(), "b\xE2\x82\xAC");
  EXPECT_EQ(tokenizer.decode({{'b', 70001}}).status().code(), Code::kBadData);
  EXPECT_EQ(tokenizer.token_id("<end>"), 70000);
  EXPECT_EQ(tokenizer.token_id("a"), 97);
  EXPECT_EQ(tokenizer.token_id("other"), std::nullopt);
  EXPECT_EQ(tokenizer.separable_prefix("one two "), 0);
  ASSERT_EQ(tokenizer.notices().size(), 1u);
  EXPECT_EQ(tokenizer.notices()[0],
            "t.json: model: X is not implemented here: tokens are those of "
            "the tokenizers library 0.21.4 of python3");
  const std::string text(300000, 'x');  // more than a socket buffers
  EXPECT_EQ(tokenizer.encode(text).value().size(), text.size());
}

TEST_F(ReferenceTest, WhatItCannotTakeIsRefused) {
  const auto tokenizer = create().value();
  EXPECT_NE(tokenizer->encode("ab\xFF").status().message().find("byte 2"), std::string::npos);
  const Status long_text = tokenizer->encode(std::string(kMaxReferenceTextBytes + 1, ' ')).status();
  EXPECT_EQ(long_text.code(), Code::kBadData);
  EXPECT_NE(long_text.message().find("JSON lines"), std::string::npos);
  const Status raised = tokenizer->encode("it raises").status();
  EXPECT_EQ(raised.code(), Code::kBadData);
  EXPECT_NE(raised.message().find("KeyError: 'no such thing'"), std::string::npos)
      << raised.message();
  EXPECT_EQ(tokenizer->encode("a").value().size(), 1u);
  const Status refused = create(60, R"({"refused": 1, "model": {"vocab": {"a": 1}}})").status();
  EXPECT_EQ(refused.code(), Code::kBadData);
  EXPECT_NE(refused.message().find("ValueError: a bad tokenizer"), std::string::npos);
  const Status other = create(60, R"({"model": {"vocab": [["a", 0.5]]}})").status();
  EXPECT_EQ(other.code(), Code::kBadData);
  EXPECT_NE(other.message().find("counts 70001 ids, the file 1"), std::string::npos)
      << other.message();
}

TEST_F(ReferenceTest, ALostProcessIsFoundAndReplaced) {
  const auto tokenizer = create(/*answer_s=*/1).value();
  expect_unavailable(tokenizer->encode("it sleeps").status(), "did not answer in time");
  EXPECT_EQ(tokenizer->encode("abc").value().size(), 3u);
  expect_unavailable(tokenizer->encode("it dies").status(), "it ended");
  EXPECT_EQ(tokenizer->encode("abc").value().size(), 3u);
}

TEST_F(ReferenceTest, WhatIsMissingIsNamedWithTheCommandThatInstallsIt) {
  ::setenv("STAND_IN_VERSION", "0.13.3", 1);
  expect_unavailable(create().status(), "is 0.13.3, and at least 0.19");
  write_module("raise ImportError('not for this python')\n");
  const Status absent = create().status();
  expect_unavailable(absent, "ImportError: not for this python");
  expect_unavailable(absent, reference_install_command());
  expect_unavailable(absent, "t.json: model: X is not implemented");
  const auto nowhere = ReferenceProcess::start({.python = "/there/is/no/python"}, "{}");
  expect_unavailable(nowhere.status(), "/there/is/no/python does not start");
  const auto silent = ReferenceProcess::start({.python = "/bin/true"}, "{}");
  expect_unavailable(silent.status(), "it ended");
}

TEST_F(ReferenceTest, ThreadsHaveAProcessEach) {
  std::ofstream lines(directory_ / "docs.jsonl");
  for (int i = 0; i < 200; ++i) lines << "{\"text\": \"document " << i << "\"}\n";
  lines.close();
  std::string first;
  for (const int threads : {1, 3}) {
    const auto tokenizer = create().value();
    tokenizer->set_document_tokens({std::nullopt, {70000}});
    PrepareOptions options;
    options.inputs = {directory_ / "docs.jsonl"};
    options.output_dir = directory_ / std::to_string(threads);
    options.chunk_bytes = 100;
    options.num_threads = threads;
    const auto prepared = prepare_tokens(posix_files(), *tokenizer, options);
    ASSERT_TRUE(prepared.ok()) << prepared.status().message();
    std::ifstream file(options.output_dir + "/train.bin", std::ios::binary);
    const std::string tokens{std::istreambuf_iterator<char>(file), {}};
    if (first.empty()) first = tokens;
    EXPECT_EQ(tokens, first);
    EXPECT_GT(tokens.size(), 200u * 12 * 4 / 2);
  }
}

// Returns true if the process exists and is not a zombie.
bool is_running(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string id, name, state;
  return static_cast<bool>(file >> id >> name >> state) && state != "Z" && state != "X";
}

TEST_F(ReferenceTest, TheProcessEndsWithItsParent) {
  int pipe[2];
  ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const auto process = ReferenceProcess::start({}, "{}");
    const pid_t pid = process.ok() ? process.value()->pid() : -1;
    (void)!::write(pipe[1], &pid, sizeof(pid));
    ::kill(::getpid(), SIGKILL);
  }
  ::close(pipe[1]);  // so that read ends if the parent dies before it writes
  pid_t pid = -1;
  ASSERT_EQ(::read(pipe[0], &pid, sizeof(pid)), static_cast<ssize_t>(sizeof(pid)));
  ASSERT_GT(pid, 0);
  ::waitpid(parent, nullptr, 0);
  const Deadline deadline = Deadline::after_s(20);
  while (is_running(pid) && !deadline.passed()) ::usleep(10000);
  EXPECT_FALSE(is_running(pid));
  ::close(pipe[0]);
}

}  // namespace
}  // namespace leasehold
