// Describes a job: everything that `mpirun leasehold-train JOB.toml` is told. The keys with their
// types, defaults and ranges are the table in job_keys.cc, which docs/job_file.md repeats. The way
// in is
//   load_job (reads the file and fills in defaults), then validate (refuses what cannot run).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/describe.h"
#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct RunSection {
  std::string name;  // names the run to people
  std::string dir;   // holds metrics, events and checkpoints
  int64_t steps = 0;
  int64_t seed = 1;
  std::string start_from;           // a checkpoint whose weights a new run begins with; empty: none
  std::string identity = "refuse";  // "refuse" or "report" a rank whose arithmetic differs
  int64_t validate_every_steps = 0;  // 0: never while training
};

struct DataSection {
  std::string train;
  std::string validation;  // empty: no validation
};

struct BatchSection {
  int64_t sequences = 0;   // per step, over all ranks
  int64_t microbatch = 1;  // sequences in one forward and backward
  int64_t lanes = 0;       // 0 until complete_job
  int64_t head_rows = 0;   // 0 until complete_job

  int64_t num_microbatches() const { return sequences / microbatch; }  // M
};

struct OptimizerSection {
  double lr = 0;
  double min_lr = -1;  // negative until complete_job
  int64_t warmup_steps = 0;
  double weight_decay = 0.1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double grad_clip = 1;            // 0: never clip
  std::string nonfinite = "stop";  // or "skip"
  int64_t max_skipped_steps = 100;
};

struct ParallelSection {
  int64_t tensor = 1;
  int64_t pipeline = 1;
  int64_t chunks = 1;             // per pipeline stage
  std::string schedule = "1f1b";  // or "gpipe"
  int64_t zero = 1;
  std::string reduction = "canonical";  // or "fast"
  std::string recompute = "none";       // "none", "attention", "block"
};

struct DeviceSection {
  std::string kind = "cpu";
  int64_t threads = 1;
  std::string precision = "fp32";
  std::string cpu_kernels = "auto";  // or a kernel set (runtime/tensor/blas/kernel_sets.h)
  std::string mode = "inline";       // or "asynchronous"
  int64_t delay_seed = 0;            // asynchronous mode: 0 means no delays
};

struct CheckpointSection {
  int64_t every_steps = 0;  // 0: only at the end and when drained
  int64_t keep = 2;
  int64_t keep_every = 0;        // steps; 0: none is kept forever
  double stall_timeout_s = 600;  // for files that do not move
  std::string interval;          // "steps", "auto"; empty until complete_job
  std::string snapshot;          // "off", "auto", "every"; empty until complete_job
};

struct LeaseSection {
  std::string calendar;  // empty: none
};

struct LaunchSection {
  std::string hosts = "local";
  int64_t min_world = 1;
  double stuck_timeout_s = 300;  // the deadline of every collective
  double start_timeout_s = 300;
  double margin_s = 30;
  double wait_for_state_s = 600;
  std::string mpirun = "mpirun";
  std::vector<std::string> mpirun_args;
};

struct JobFile {
  std::string path;  // the file itself
  // Keys that the file or --set sets ("batch.lanes"); the others have their defaults.
  std::set<std::string> given;
  // The text of tokenizer.json next to data.train; empty without one.
  std::string tokenizer_json;

  RunSection run;
  ModelConfig model;
  DataSection data;
  BatchSection batch;
  OptimizerSection optimizer;
  ParallelSection parallel;
  DeviceSection device;
  CheckpointSection checkpoint;
  LeaseSection lease;
  LaunchSection launch;
};

// Parses the text of a job file and fills in plain defaults. `path` is the file's path, for
// messages; relative paths in the text start at its directory. `overrides` are `--set` arguments,
// "table.key=value" (job_override.h), of which later ones win; relative paths in them stay relative
// to the working directory. Fails with kBadConfig, naming file, line and key and what to write
// instead, for text that is not TOML, an unknown key (with the nearest known one), a wrong type, a
// value out of range or a missing required key. Fails with kUsage for an override without '='. Pure
// (fuzzed).
Result<JobFile> parse_job(std::string_view text, const std::string& path,
                          std::span<const std::string> overrides);

// Fills in the defaults that depend on other keys: run.name, batch.lanes, optimizer.min_lr,
// checkpoint.snapshot and interval, the model's kv_heads and ffn, and model.vocab from
// `tokenizer_vocab` (0 without a tokenizer). Fails with kBadConfig if model.vocab has no value or
// does not hold the tokenizer's ids, or if the model is impossible (see complete_model_config).
// Pure.
Status complete_job(JobFile& job, int64_t tokenizer_vocab);

// Reads the file at `path` and tokenizer.json next to data.train, then parses and completes the
// job. Local: every rank may call it, and ranks that read the same files get the same job. Fails
// with kMissingInput without the job file or data.train, with kBadData for a bad tokenizer.json,
// and as parse_job and complete_job do.
Result<JobFile> load_job(FileSystem& files, const std::string& path,
                         std::span<const std::string> overrides);

// Fails with kBadConfig, naming values that work, if a completed job cannot run on `num_ranks`
// ranks. Pure.
Status validate(const JobFile& job, int num_ranks);

// Returns the values that must not change when a job is resumed, as canonical text by key
// ("batch.lanes" -> "8"). The digest of the training data is one of them: the caller, who has the
// file open, adds it under kDataDigestKey. The job must be completed.
std::map<std::string, std::string> identity_keys(const JobFile& job);
inline constexpr const char* kDataDigestKey = "data.digest";

}  // namespace leasehold
