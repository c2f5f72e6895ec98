#include "launch/job_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "tests/launch/job_text.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

Result<JobFile> parse(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_job(text, "jobs/small.toml", overrides);
}

// Parses the good job with `line` added at its end, which is inside [optimizer].
Result<JobFile> parse_with(const std::string& line) { return parse(kGoodJob + line + "\n"); }

Result<JobFile> parse_set(const std::string& argument) { return parse(kGoodJob, {argument}); }

void expect_error(const Status& status, Code code, std::initializer_list<std::string> parts) {
  EXPECT_EQ(status.code(), code) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "'" << part << "' is not in: " << status.message();
  }
}

TEST(ParseJob, ReadsEveryType) {
  const JobFile job = parse_with(R"(
beta1 = 0.5
grad_clip = 2  # an integer where a number may stand
[launch]
hosts = "local"
mpirun_args = ["--mca", "btl tcp"])")
                          .value();
  EXPECT_EQ(job.run.steps, 100);
  EXPECT_EQ(job.model.hidden, 48);
  EXPECT_EQ(job.optimizer.lr, 1e-3);
  EXPECT_EQ(job.optimizer.beta1, 0.5);
  EXPECT_EQ(job.optimizer.grad_clip, 2.0);
  EXPECT_EQ(job.launch.mpirun_args, (std::vector<std::string>{"--mca", "btl tcp"}));
  EXPECT_TRUE(job.given.contains("optimizer.beta1"));
  EXPECT_FALSE(job.given.contains("optimizer.beta2"));
}

TEST(ParseJob, KeepsDefaultsOfWhatIsLeftOut) {
  const JobFile job = parse(kGoodJob).value();
  const JobFile plain;
  EXPECT_EQ(job.run.seed, plain.run.seed);
  EXPECT_EQ(job.optimizer.beta2, 0.95);
  EXPECT_EQ(job.parallel.zero, 1);
  EXPECT_EQ(job.parallel.reduction, "canonical");
  EXPECT_EQ(job.device.mode, "inline");
}

TEST(ParseJob, PathsStartAtTheFileThatNamesThem) {
  const JobFile job = parse(kGoodJob, {"data.validation=v/validation.bin"}).value();
  EXPECT_EQ(job.run.dir, "jobs/out");
  EXPECT_EQ(job.data.train, "jobs/tokens/train.bin");
  EXPECT_EQ(job.data.validation, "v/validation.bin");
  EXPECT_EQ(parse_job(kGoodJob, "small.toml", {}).value().run.dir, "out");
  EXPECT_EQ(parse_job(kGoodJob, "/etc/small.toml", {}).value().run.dir, "/etc/out");
  std::string absolute = kGoodJob;
  absolute.replace(absolute.find("\"out\""), 5, "\"/scratch/out\"");
  EXPECT_EQ(parse(absolute).value().run.dir, "/scratch/out");
}

TEST(ParseJob, SetNeedsNoQuotesAndTheLastOneWins) {
  const JobFile job = parse(kGoodJob, {"run.steps=7", "optimizer.lr=3e-4", "run.name=try 2=b",
                                       "run.steps=8", "launch.mpirun_args=--mca btl  tcp"})
                          .value();
  EXPECT_EQ(job.run.steps, 8);
  EXPECT_EQ(job.optimizer.lr, 3e-4);
  EXPECT_EQ(job.run.name, "try 2=b");
  EXPECT_EQ(job.launch.mpirun_args, (std::vector<std::string>{"--mca", "btl", "tcp"}));
  EXPECT_TRUE(job.given.contains("run.name"));
}

TEST(ParseJob, SetCanGiveWhatTheFileLeavesOut) {
  std::string text = kGoodJob;
  text.erase(text.find("steps = 100"), 11);
  EXPECT_FALSE(parse(text).ok());
  EXPECT_EQ(parse(text, {"run.steps=5"}).value().run.steps, 5);
}

TEST(ParseJob, RefusesUnknownKeysWithTheNearest) {
  const auto expect = [](const std::string& line, const std::string& nearest) {
    const Status status = parse_with(line).status();
    expect_error(status, Code::kBadConfig, {"jobs/small.toml:", "did you mean", nearest});
  };
  expect("learning_rate = 1", "optimizer.");
  expect("weight_deacy = 1", "'optimizer.weight_decay'");
  expect("lanes = 4", "'batch.lanes'");  // a key of another table
  expect("[optimiser]\nlr = 1", "'optimizer.lr'");
  expect("[lunch]", "[launch]");
  expect("[run.more]\nx = 1", "'run.");
  expect("[devices]\nthreads = 2", "'device.threads'");
  expect_error(parse_set("batch.microbach=1").status(), Code::kBadConfig,
               {"--set batch.microbach=1", "'batch.microbatch'"});
  // The message names the line of the bad key, not another one.
  const std::string text = kGoodJob;
  const auto line = std::count(text.begin(), text.end(), '\n') + 2;
  expect_error(parse_with("\nfirst = 1\nsecond = 2").status(), Code::kBadConfig,
               {fmt::format("jobs/small.toml:{}: ", line), "'optimizer.first'"});
}

TEST(ParseJob, RefusesKeysOutsideTables) {
  expect_error(parse("steps = 3\n").status(), Code::kBadConfig, {"jobs/small.toml:1", "[run]"});
  expect_error(parse("run = 3\n").status(), Code::kBadConfig, {"'run' is a table", "[run]"});
  expect_error(parse("[[run]]\ndir = \"x\"\n").status(), Code::kBadConfig, {"'run' is a table"});
}

TEST(ParseJob, SaysWhichTypeItExpectedAndGot) {
  const auto expect = [](const std::string& text, std::initializer_list<std::string> parts) {
    expect_error(parse(text).status(), Code::kBadConfig, parts);
  };
  expect("[run]\nsteps = \"100\"",
         {"jobs/small.toml:2", "run.steps", "an integer", "the string \"100\""});
  expect("[run]\nsteps = 1.5", {"expected an integer", "the number 1.5"});
  expect("[run]\nsteps = true", {"expected an integer", "the boolean true"});
  expect("[run]\nsteps = 1979-05-27", {"expected an integer", "a date"});
  expect("[run]\nsteps = [1]", {"expected an integer", "a list"});
  expect("[run]\nsteps = {a = 1}", {"expected an integer", "a table"});
  expect("[model]\ntied = 1", {"model.tied", "expected a boolean", "the integer 1"});
  expect_error(parse_set("model.tied=yes").status(), Code::kBadConfig, {"expected a boolean"});
  EXPECT_TRUE(parse_set("model.tied=true").value().model.tied);
  expect("[run]\ndir = 3", {"run.dir", "expected a path", "the integer 3"});
  expect("[run]\nidentity = 3", {"run.identity", "expected a string", "the integer 3"});
  expect("[optimizer]\nlr = \"1e-3\"", {"optimizer.lr", "expected a number"});
  expect("[launch]\nmpirun_args = \"-x A\"", {"launch.mpirun_args", "expected a list of strings"});
  expect("[launch]\nmpirun_args = [1]",
         {"expected a list of strings", "values other than strings"});
  expect_error(parse_set("run.steps=ten").status(), Code::kBadConfig,
               {"--set run.steps=ten", "expected an integer", "'ten'"});
  expect_error(parse_set("run.steps=1.5").status(), Code::kBadConfig, {"expected an integer"});
  expect_error(parse_set("run.steps=").status(), Code::kBadConfig, {"expected an integer"});
  expect_error(parse_set("optimizer.lr=1e-3x").status(), Code::kBadConfig, {"expected a number"});
}

TEST(ParseJob, ChecksRanges) {
  const auto expect = [](const std::string& argument, const std::string& range) {
    const std::string key = argument.substr(0, argument.find('='));
    expect_error(parse_set(argument).status(), Code::kBadConfig, {key, range});
  };
  expect("run.steps=0", "1 to 4294967295");
  expect("run.steps=4294967296", "1 to 4294967295");
  expect("run.steps=99999999999999999999", "expected an integer");
  expect("run.seed=-1", "at least 0");
  expect("batch.sequences=0", "1 to");
  expect("batch.microbatch=-2", "1 to");
  expect("optimizer.lr=0", "above 0");
  expect("optimizer.lr=nan", "above 0");
  expect("optimizer.lr=inf", "above 0");
  expect("optimizer.beta2=1", "at least 0, below 1");
  expect("optimizer.eps=0", "above 0");
  expect("model.dropout=1.0", "below 1");
  expect("parallel.zero=4", "0 to 3");
  expect("device.threads=0", "1 to 1024");
  expect("checkpoint.keep=0", "1 to 1073741824");
  expect("parallel.pipeline=9223372036854775807", "1 to 1048576");
  expect("launch.stuck_timeout_s=0", "above 0");
  expect("run.identity=maybe", "\"refuse\", \"report\"");
  expect("parallel.reduction=exact", "\"canonical\", \"fast\"");
  expect("device.kind=tpu", "\"cpu\", \"cuda\"");
  expect("run.dir=", "is empty");
  expect("data.validation=", "leave the key out");
  EXPECT_TRUE(parse_set("run.seed=9223372036854775807").ok());
  EXPECT_TRUE(parse_set("model.dropout=0").ok());
}

TEST(ParseJob, RefusesControlCharacters) {
  expect_error(parse("[run]\ndir = \"a\\u0000b\"").status(), Code::kBadConfig,
               {"run.dir", "control character"});
  expect_error(parse("[run]\nname = \"a\\nb\"").status(), Code::kBadConfig, {"control character"});
}

TEST(ParseJob, NamesAllRequiredKeysThatAreMissing) {
  expect_error(parse("").status(), Code::kBadConfig,
               {"jobs/small.toml", "run.dir", "run.steps", "model.layers", "model.hidden",
                "model.heads", "model.sequence", "data.train", "batch.sequences", "optimizer.lr"});
  std::string text = kGoodJob;
  text.erase(text.find("lr = 1e-3"), 9);
  expect_error(parse(text).status(), Code::kBadConfig, {"missing: optimizer.lr; add it"});
}

TEST(ParseJob, RefusesWhatIsNotToml) {
  expect_error(parse("[run\n").status(), Code::kBadConfig, {"jobs/small.toml:1", "not TOML"});
  expect_error(parse("[run]\nsteps = 1\nsteps = 2\n").status(), Code::kBadConfig,
               {"jobs/small.toml:3", "not TOML"});
  expect_error(parse("\xff\xfe").status(), Code::kBadConfig, {"not TOML"});
  expect_error(parse("[run]\nsteps = 99999999999999999999\n").status(), Code::kBadConfig,
               {"not TOML"});
}

TEST(ParseJob, KnowsCharactersBeyondAsciiInStringsAndCommentsOnly) {
  const JobFile job = parse_with("# \xC3\xA4\n[launch]\nhosts = \"\xC3\xA4\xCF\x8F\"").value();
  EXPECT_EQ(job.launch.hosts, "\xC3\xA4\xCF\x8F");
  for (const char* text :
       {"[run]\nst\xC3\xA4ps = 3", "[run]\nsteps = \xC3\xA4", "\xCF\x8F", "[run] \xD2\x99"}) {
    expect_error(parse(text).status(), Code::kBadConfig, {"jobs/small.toml", "not TOML"});
  }
}

TEST(ParseJob, RefusesOverridesThatAreNone) {
  for (const char* argument : {"", "run.steps", "steps=3", "=", "run=a.b"}) {
    expect_error(parse_set(argument).status(), Code::kUsage, {"--set", "table.key=value"});
  }
}

// These tests follow the rule of docs/job_file.md.
TEST(SetValue, OfAStringIsATextOrATomlString) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"(a b.bin)", "a b.bin"},
      {R"("a b.bin")", "a b.bin"},
      {R"('a b.bin')", "a b.bin"},
      {R"(  "a b.bin"  )", "a b.bin"},
      {R"( a b.bin )", "a b.bin"},
      {R"(" a ")", " a "},
      {R"(a#b.bin)", "a#b.bin"},
      {R"("a#b.bin")", "a#b.bin"},
      {R"(a # b)", "a # b"},
      {R"(it's.bin)", "it's.bin"},
      {R"(a"b".bin)", R"(a"b".bin)"},
      {R"("a\"b\\c\u00e9")", "a\"b\\c\xC3\xA9"},
      {R"('a\b')", R"(a\b)"},
      {R"(C:\new\table)", R"(C:\new\table)"},
      {R"('"a" b')", R"("a" b)"},
      {R"("it's")", "it's"},
      {R"("""a b""")", "a b"},
      {R"(a=b)", "a=b"},
      {R"(["a"])", R"(["a"])"},
      {R"({a = 1})", "{a = 1}"},
      {"2026-01-01", "2026-01-01"},
      {"1e3", "1e3"},
      {"true", "true"},
      {"\xC3\xA4 b", "\xC3\xA4 b"},
  };
  for (const auto& [value, expected] : cases) {
    const auto job = parse_set("data.train=" + value);
    ASSERT_TRUE(job.ok()) << value << ": " << job.status().message();
    EXPECT_EQ(job->data.train, expected) << value;
  }
  for (const char* value :
       {R"("a)", R"("a" b)", R"("a" # b)", R"("a", "b")", R"('a)", R"("a\q")", R"(")", R"("a"])"}) {
    expect_error(parse_set("data.train=" + std::string(value)).status(), Code::kBadConfig,
                 {"--set data.train=" + std::string(value), "one string of TOML"});
  }
  expect_error(parse_set("data.train=\"\"").status(), Code::kBadConfig, {"is empty"});
  expect_error(parse_set("data.train=\"a\\nb\"").status(), Code::kBadConfig, {"control character"});
  EXPECT_EQ(parse_set("run.identity=\"report\"")->run.identity, "report");
  EXPECT_EQ(parse_set(" run.identity = report ")->run.identity, "report");
}

TEST(SetValue, OfAListIsWordsOrATomlArray) {
  using List = std::vector<std::string>;
  const std::vector<std::pair<std::string, List>> cases = {
      {"-x A=1", {"-x", "A=1"}},
      {"  -x   A ", {"-x", "A"}},
      {R"("-x A=1")", {"-x", "A=1"}},
      {R"(["-x", "A=1 2"])", {"-x", "A=1 2"}},
      {R"(['-x',"A"])", {"-x", "A"}},
      {"[]", {}},
      {"", {}},
      {R"(-x "A B")", {"-x", "\"A", "B\""}},
  };
  for (const auto& [value, expected] : cases) {
    const auto job = parse_set("launch.mpirun_args=" + std::string(value));
    ASSERT_TRUE(job.ok()) << value << ": " << job.status().message();
    EXPECT_EQ(job->launch.mpirun_args, expected) << value;
  }
  for (const char* value : {R"(["a")", R"(["a"] b)", R"("a)"}) {
    expect_error(parse_set("launch.mpirun_args=" + std::string(value)).status(), Code::kBadConfig,
                 {"--set launch.mpirun_args=", "of TOML"});
  }
  expect_error(parse_set("launch.mpirun_args=[1]").status(), Code::kBadConfig,
               {"expected a list of strings"});
}

TEST(SetValue, OfANumberIsWrittenAsInTheFile) {
  for (const auto& [value, expected] : std::vector<std::pair<std::string, int64_t>>{
           {"1_000", 1000}, {"0x10", 16}, {"+7", 7}, {" 7 ", 7}, {"007", 7}}) {
    const auto job = parse_set("run.steps=" + value);
    ASSERT_TRUE(job.ok()) << value << ": " << job.status().message();
    EXPECT_EQ(job->run.steps, expected) << value;
  }
  for (const auto& [value, expected] : std::vector<std::pair<std::string, double>>{
           {"1e-3", 1e-3}, {"1", 1}, {".5", .5}, {"1_0.5", 10.5}}) {
    const auto job = parse_set("optimizer.lr=" + value);
    ASSERT_TRUE(job.ok()) << value << ": " << job.status().message();
    EXPECT_EQ(job->optimizer.lr, expected) << value;
  }
  for (const char* value :
       {"\"100\"", "'100'", "1e3", "1.0", "7 # comment", "7, 8", "7]", "[7]", "{a = 7}",
        "2026-01-01", "9223372036854775808", "0x", "true", "seven", ""}) {
    expect_error(parse_set("run.steps=" + std::string(value)).status(), Code::kBadConfig,
                 {"--set run.steps=", "expected an integer"});
  }
  expect_error(parse_set("optimizer.lr=1e999").status(), Code::kBadConfig, {"optimizer.lr"});
  expect_error(parse_set("optimizer.lr=-inf").status(), Code::kBadConfig, {"above 0"});
  expect_error(parse_set("model.tied=\"true\"").status(), Code::kBadConfig, {"expected a boolean"});
}

TEST(CompleteJob, FillsWhatDependsOnOtherKeys) {
  const JobFile job = make_job();
  EXPECT_EQ(job.run.name, "small");
  EXPECT_EQ(job.batch.num_microbatches(), 8);
  EXPECT_EQ(job.batch.lanes, 8);
  EXPECT_EQ(job.optimizer.min_lr, 1e-4);
  EXPECT_EQ(job.model.kv_heads, 4);
  EXPECT_EQ(job.model.ffn, 192);
  EXPECT_TRUE(job.model.tied);

  const JobFile llama = make_job({"model.family=llama"});
  EXPECT_EQ(llama.model.ffn, 256);
  EXPECT_EQ(llama.model.rope_theta, 10000);
  EXPECT_FALSE(llama.model.tied);
  EXPECT_TRUE(make_job({"model.family=llama", "model.tied=true"}).model.tied);
  EXPECT_TRUE(make_job({"model.tied=true"}).model.tied);
}

TEST(CompleteJob, LeavesWhatIsGiven) {
  const JobFile job = make_job(
      {"run.name=other", "batch.lanes=2", "optimizer.min_lr=0", "model.ffn=64", "model.vocab=300"});
  EXPECT_EQ(job.run.name, "other");
  EXPECT_EQ(job.batch.lanes, 2);
  EXPECT_EQ(job.optimizer.min_lr, 0);
  EXPECT_EQ(job.model.ffn, 64);
  EXPECT_EQ(job.model.vocab, 300);
}

TEST(CompleteJob, VocabularyMustHoldTheTokenizers) {
  JobFile job = parse_set("model.vocab=255").value();
  expect_error(complete_job(job, 256), Code::kBadConfig,
               {"model.vocab = 255", "256 ids", "model.vocab = 256"});
  EXPECT_TRUE(complete_job(job, 0).ok());
}

TEST(CompleteJob, RefusesImpossibleModels) {
  JobFile job = parse_set("model.heads=5").value();
  expect_error(complete_job(job, 256), Code::kBadConfig, {"model.heads = 5", "model.hidden = 48"});
  job = parse_set("model.tied=false").value();
  expect_error(complete_job(job, 256), Code::kBadConfig,
               {"model.tied = false", "model.family = \"llama\""});
  job = parse_set("model.rope_theta=500000").value();
  expect_error(complete_job(job, 256), Code::kBadConfig,
               {"model.rope_theta = 500000", "model.family = \"llama\""});
}

class LoadJobTest : public ::testing::Test {
 protected:
  LoadJobTest() {
    std::filesystem::create_directory(directory_ / "tokens");
    std::string text = kGoodJob;
    text.erase(text.find("vocab = 256"), 11);
    write("job.toml", text);
    write("tokens/train.bin", "");
  }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }
  Result<JobFile> load(const std::vector<std::string>& overrides = {}) {
    return load_job(posix_files(), directory_ / "job.toml", overrides);
  }

  const std::string byte_json_ =
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "byte", "vocab": 256})";
  TemporaryDirectory directory_;
};

TEST_F(LoadJobTest, TakesTheVocabularyFromTheTokenizerBesideTheData) {
  write("tokens/tokenizer.json", byte_json_);
  const JobFile job = load().value();
  EXPECT_EQ(job.model.vocab, 256);
  EXPECT_EQ(job.tokenizer_json, byte_json_);
  EXPECT_EQ(job.path, directory_ / "job.toml");
  EXPECT_EQ(job.data.train, directory_ / "tokens/train.bin");
}

TEST_F(LoadJobTest, DataWithoutATokenizerNeedsTheVocabulary) {
  expect_error(load().status(), Code::kBadConfig,
               {"model.vocab", "tokenizer.json", "tokens/train.bin", "leasehold prepare"});
  const JobFile job = load({"model.vocab=1000"}).value();
  EXPECT_EQ(job.model.vocab, 1000);
  EXPECT_EQ(job.tokenizer_json, "");
}

TEST_F(LoadJobTest, ABadTokenizerIsBadData) {
  write("tokens/tokenizer.json", "{}");
  expect_error(load({"model.vocab=1000"}).status(), Code::kBadData, {"tokens/tokenizer.json"});
}

TEST_F(LoadJobTest, NamesMissingData) {
  std::filesystem::remove(directory_ / "tokens/train.bin");
  expect_error(load().status(), Code::kMissingInput,
               {"job.toml", "data.train", directory_ / "tokens/train.bin", "leasehold prepare"});
}

TEST_F(LoadJobTest, NamesAMissingFile) {
  expect_error(load_job(posix_files(), directory_ / "none.toml", {}).status(), Code::kMissingInput,
               {"job file", directory_ / "none.toml"});
}

TEST_F(LoadJobTest, RefusesAFileFarTooLarge) {
  write("job.toml", std::string((1 << 20) + 1, '#'));
  expect_error(load().status(), Code::kBadConfig, {"job.toml", "bytes"});
}

TEST(IdentityKeys, AreCanonicalText) {
  const auto identity = identity_keys(make_job({"optimizer.lr=0.00030"}));
  const std::map<std::string, std::string> expected = {
      {"run.seed", "1"},
      {"run.steps", "100"},
      {"model.family", "gpt2"},
      {"model.layers", "2"},
      {"model.hidden", "48"},
      {"model.heads", "4"},
      {"model.kv_heads", "4"},
      {"model.ffn", "192"},
      {"model.sequence", "32"},
      {"model.vocab", "256"},
      {"model.dropout", "0"},
      {"batch.sequences", "16"},
      {"batch.microbatch", "2"},
      {"batch.lanes", "8"},
      {"optimizer.lr", "0.0003"},
      {"optimizer.min_lr", fmt::format("{}", 0.0003 / 10)},
      {"optimizer.beta1", "0.9"},
      {"optimizer.beta2", "0.95"},
      {"optimizer.eps", "1e-08"},
      {"optimizer.grad_clip", "1"},
      {"parallel.tensor", "1"},
      {"parallel.reduction", "canonical"},
      {"device.precision", "fp32"},
      {"optimizer.warmup_steps", "0"},
      {"optimizer.weight_decay", "0.1"}};
  EXPECT_EQ(identity, expected);
}

// Keys that did not exist when gpt2 runs began are part of the identity only if they differ from
// the default.
TEST(IdentityKeys, OfLlamaSayMore) {
  auto identity = identity_keys(make_job({"model.family=llama", "model.norm_eps=1e-6"}));
  EXPECT_EQ(identity.at("model.rope_theta"), "10000");
  EXPECT_EQ(identity.at("model.tied"), "false");
  EXPECT_EQ(identity.at("model.norm_eps"), "1e-06");
  EXPECT_FALSE(identity.contains("model.rope_factor"));
  EXPECT_FALSE(identity.contains("parallel.recompute"));
  identity = identity_keys(
      make_job({"model.family=llama", "model.rope_factor=8", "model.rope_low_freq_factor=2",
                "model.rope_high_freq_factor=5", "model.rope_original_sequence=16"}));
  EXPECT_EQ(identity.at("model.rope_factor"), "8");
  EXPECT_EQ(identity.at("model.rope_low_freq_factor"), "2");
  EXPECT_EQ(identity.at("model.rope_high_freq_factor"), "5");
  EXPECT_EQ(identity.at("model.rope_original_sequence"), "16");
}

// A run that an earlier version began keeps its chunks, or is refused by a key that says which.
TEST(IdentityKeys, NameTheHeadsRowsWhereEarlierVersionsHadOthers) {
  const std::vector<std::string> small = {"model.vocab=50257", "model.sequence=512"};
  EXPECT_FALSE(identity_keys(make_job(small)).contains("batch.head_rows"));  // one chunk in both
  std::vector<std::string> job = {"model.vocab=50257", "model.sequence=1024"};
  EXPECT_EQ(make_job(job).batch.head_rows, 2048);
  EXPECT_EQ(identity_keys(make_job(job)).at("batch.head_rows"),
            "2048 (1024 in versions that did not record it)");
  job.push_back("batch.head_rows=1024");
  EXPECT_FALSE(identity_keys(make_job(job)).contains("batch.head_rows"));
  job.back() = "batch.head_rows=100";
  EXPECT_EQ(identity_keys(make_job(job)).at("batch.head_rows"),
            "100 (1024 in versions that did not record it)");
  // The rank's part of the vocabulary counts.
  EXPECT_EQ(
      make_job({"model.vocab=256000", "model.sequence=4096", "parallel.tensor=2"}).batch.head_rows,
      2048);
  JobFile wrong = parse_set("batch.head_rows=65").value();
  expect_error(complete_job(wrong, 256), Code::kBadConfig, {"batch.head_rows = 65", "64 at most"});
}

TEST(IdentityKeys, DoNotDependOnHowAValueWasWritten) {
  EXPECT_EQ(identity_keys(make_job({"optimizer.lr=1e-3"})),
            identity_keys(make_job({"optimizer.lr=0.001", "batch.lanes=8", "device.threads=2",
                                    "run.dir=elsewhere", "parallel.zero=0"})));
  EXPECT_NE(identity_keys(make_job()), identity_keys(make_job({"batch.lanes=4"})));
}

}  // namespace
}  // namespace leasehold
