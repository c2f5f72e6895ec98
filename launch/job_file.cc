#include "launch/job_file.h"

#include <memory>

#include "launch/job_override.h"
#include "launch/job_schema.h"
#include "launch/job_toml.h"
#include "models/head_rows.h"
#include "runtime/base/check.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxJobBytes = int64_t{1} << 20;

Status unknown_key(std::string_view table, std::string_view name) {
  return error(Code::kBadConfig, "there is no key '{}.{}'; did you mean '{}'?", table, name,
               nearest_job_key(table, name).full_name());
}

Status assign(std::string_view table, std::string_view name, const JobValue& value, JobFile& job) {
  const JobKey* key = find_job_key(table, name);
  if (key == nullptr) return unknown_key(table, name);
  LEASEHOLD_RETURN_IF_ERROR(assign_job_value(*key, value, job));
  job.given.insert(key->full_name());
  return ok_status();
}

Status assign_entry(const JobEntry& entry, JobFile& job) {
  const Status status = assign(entry.table, entry.name, entry.value, job);
  if (!status.ok()) return status.annotated(fmt::format("{}:{}", job.path, entry.line));
  const JobKey& key = *find_job_key(entry.table, entry.name);
  if (key.is_path) {
    std::string& value = *std::get<std::string*>(key.slot(job));
    value = join_path(parent_path(job.path), value);
  }
  return ok_status();
}

Status assign_override(const std::string& text, JobFile& job) {
  LEASEHOLD_ASSIGN_OR_RETURN(const JobOverride given, parse_job_override(text));
  return assign(given.table, given.name, given.value, job).annotated("--set " + text);
}

Status check_required(const JobFile& job) {
  std::vector<std::string> missing;
  for (const JobKey& key : job_keys()) {
    if (key.required && !job.given.contains(key.full_name())) missing.push_back(key.full_name());
  }
  if (missing.empty()) return ok_status();
  return error(Code::kBadConfig, "{}: required but missing: {}; add {} to the job file", job.path,
               fmt::join(missing, ", "), missing.size() == 1 ? "it" : "them");
}

std::string stem_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.ends_with(".toml")) name.resize(name.size() - 5);
  return name;
}

Status complete_vocab(JobFile& job, int64_t tokenizer_vocab) {
  if (!job.given.contains("model.vocab")) {
    if (tokenizer_vocab == 0) {
      return error(Code::kBadConfig,
                   "model.vocab is not set and there is no tokenizer.json next to {}; set "
                   "model.vocab, or prepare the data with `leasehold prepare`",
                   job.data.train);
    }
    job.model.vocab = tokenizer_vocab;
  }
  if (job.model.vocab >= tokenizer_vocab) return ok_status();
  return error(Code::kBadConfig,
               "model.vocab = {} is less than the {} ids of the tokenizer next to {}; set "
               "model.vocab = {} or more, or leave it out",
               job.model.vocab, tokenizer_vocab, job.data.train, tokenizer_vocab);
}

// Returns the size of the vocabulary, or 0 without a tokenizer.json, and keeps the file's text in
// the job.
Result<int64_t> read_tokenizer(FileSystem& files, JobFile& job) {
  const std::string path = join_path(parent_path(job.data.train), "tokenizer.json");
  auto text = read_file(files, path);
  if (text.status().code() == Code::kMissingInput) return int64_t{0};
  LEASEHOLD_RETURN_IF_ERROR(text.status());
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokenizer, parse_tokenizer_json(text.value(), path));
  job.tokenizer_json = std::move(text).value();
  return tokenizer->vocab_size();
}

}  // namespace

Result<JobFile> parse_job(std::string_view text, const std::string& path,
                          std::span<const std::string> overrides) {
  JobFile job;
  job.path = path;
  LEASEHOLD_ASSIGN_OR_RETURN(const auto entries, read_job_toml(text, path));
  for (const JobEntry& entry : entries) LEASEHOLD_RETURN_IF_ERROR(assign_entry(entry, job));
  for (const std::string& argument : overrides) {
    LEASEHOLD_RETURN_IF_ERROR(assign_override(argument, job));
  }
  LEASEHOLD_RETURN_IF_ERROR(check_required(job));
  return job;
}

// After the model is complete.
Status complete_head_rows(JobFile& job) {
  const int64_t tokens = job.batch.microbatch * job.model.sequence;
  const int64_t vocab = std::max<int64_t>(1, job.model.vocab / job.parallel.tensor);
  if (!job.given.contains("batch.head_rows")) job.batch.head_rows = head_rows(tokens, vocab);
  if (job.batch.head_rows <= tokens) return ok_status();
  return error(Code::kBadConfig,
               "batch.head_rows = {}, but a microbatch has {} tokens: write {} at most, or leave "
               "it out",
               job.batch.head_rows, tokens, tokens);
}

Status complete_job(JobFile& job, int64_t tokenizer_vocab) {
  if (!job.given.contains("run.name")) job.run.name = stem_of(job.path);
  if (!job.given.contains("batch.lanes")) job.batch.lanes = job.batch.num_microbatches();
  if (!job.given.contains("checkpoint.snapshot"))
    job.checkpoint.snapshot = job.lease.calendar.empty() ? "off" : "auto";
  if (!job.given.contains("checkpoint.interval")) {
    const bool measured =
        job.checkpoint.snapshot != "off" && !job.given.contains("checkpoint.every_steps");
    job.checkpoint.interval = measured ? "auto" : "steps";
  }
  if (!job.given.contains("optimizer.min_lr")) job.optimizer.min_lr = job.optimizer.lr / 10;
  LEASEHOLD_RETURN_IF_ERROR(complete_vocab(job, tokenizer_vocab));
  if (job.given.contains("model.tied") && !job.model.tied && job.model.family == "gpt2") {
    return error(Code::kBadConfig,
                 "model.tied = false, but the head of the gpt2 family is its token table: leave "
                 "model.tied out, or set model.family = \"llama\"");
  }
  LEASEHOLD_ASSIGN_OR_RETURN(job.model, complete_model_config(job.model));
  return complete_head_rows(job);
}

Result<JobFile> load_job(FileSystem& files, const std::string& path,
                         std::span<const std::string> overrides) {
  auto text = read_file(files, path, kMaxJobBytes);
  if (!text.ok()) {
    const Code code = text.status().code();
    return Status(code == Code::kBadData ? Code::kBadConfig : code,
                  "job file: " + text.status().message());
  }
  LEASEHOLD_ASSIGN_OR_RETURN(JobFile job, parse_job(text.value(), path, overrides));
  // Check the data first: if it is missing, tokenizer.json is too, and that error would hide the
  // cause.
  if (!files.exists(job.data.train)) {
    return error(Code::kMissingInput,
                 "{}: data.train: there is no {}; make it with `leasehold prepare`", path,
                 job.data.train);
  }
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t tokenizer_vocab, read_tokenizer(files, job));
  const Status status = complete_job(job, tokenizer_vocab);
  if (!status.ok()) return status.annotated(path);
  return job;
}

std::map<std::string, std::string> identity_keys(const JobFile& job) {
  std::map<std::string, std::string> identity;
  for (const JobKey& key : job_keys()) {
    if (!key.identity) continue;
    const std::string text =
        key.identity_text == nullptr ? job_value_text(key, job) : key.identity_text(job);
    const bool is_left_out = key.identity_text == nullptr
                                 ? !key.identity_without.empty() && text == key.identity_without
                                 : text.empty();
    if (!is_left_out) identity[key.full_name()] = text;
  }
  return identity;
}

}  // namespace leasehold
