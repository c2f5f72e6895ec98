#include "runtime/data/prepare.h"

#include <algorithm>
#include <unistd.h>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

class Preparation {
 public:
  Preparation(FileSystem& files, const Tokenizer& tokenizer, const PrepareOptions& options)
      : files_(files), tokenizer_(tokenizer), options_(options), pool_(options.num_threads) {}

  Result<PrepareSummary> run() {
    LEASEHOLD_RETURN_IF_ERROR(find_inputs());
    std::vector<std::string> made_dirs;  // innermost first
    for (std::string dir = options_.output_dir; dir != "." && !files_.exists(dir);
         dir = parent_path(dir)) {
      made_dirs.push_back(dir);
    }
    LEASEHOLD_RETURN_IF_ERROR(files_.make_directories(options_.output_dir));
    for (const std::string& dir : made_dirs) {
      LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(parent_path(dir)));
    }
    auto summary = write();
    if (!summary.ok() && !made_dirs.empty()) {
      const auto names = files_.list(options_.output_dir);
      if (names.ok() && names.value().empty()) (void)files_.remove_all(options_.output_dir).ok();
    }
    return summary;
  }

 private:
  std::string output(const char* name) const { return join_path(options_.output_dir, name); }

  Status find_inputs() {
    for (const std::string& path : options_.inputs) {
      LEASEHOLD_ASSIGN_OR_RETURN(PrepareInput input, detect_input(files_, path, options_.format));
      for (const PrepareInput& before : inputs_) {
        if (input.index_path.empty() || input.index_path != before.index_path) continue;
        return error(Code::kUsage, "{} and {} are one dataset; name one of them", before.path,
                     before.index_path);
      }
      total_bytes_ += input.size_bytes;
      inputs_.push_back(std::move(input));
    }
    return ok_status();
  }

  Result<PrepareSummary> write() {
    const int token_bytes = tokenizer_.vocab_size() <= 65536 ? 2 : 4;
    TokenWriter train(files_, output("train.bin"), token_bytes);
    TokenWriter validation(files_, output("validation.bin"), token_bytes);
    LEASEHOLD_RETURN_IF_ERROR(train.start());
    if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.start());
    const PrepareContext context = {.files = files_,
                                    .tokenizer = tokenizer_,
                                    .pool = pool_,
                                    .chunk_bytes = options_.chunk_bytes,
                                    .validation_fraction = options_.validation_fraction,
                                    .advance = [this](int64_t bytes) { return advance(bytes); },
                                    .train = train,
                                    .validation = validation};
    for (const PrepareInput& input : inputs_) {
      LEASEHOLD_RETURN_IF_ERROR(prepare_input(input, context));
    }
    LEASEHOLD_RETURN_IF_ERROR(check_split(train, validation));
    LEASEHOLD_RETURN_IF_ERROR(train.finish());
    if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.finish());
    const Status published = publish(train, validation);
    if (!published.ok()) {
      for (const char* name : {"train.bin", "validation.bin", "tokenizer.json"}) {
        (void)files_.remove_all(output(name)).ok();
      }
      return published;
    }
    return PrepareSummary{total_bytes_, train.num_tokens(), validation.num_tokens()};
  }

  static Status prepare_input(const PrepareInput& input, const PrepareContext& context) {
    switch (input.format) {
      case PrepareFormat::kJsonLines:
        return prepare_json_lines(input, context);
      case PrepareFormat::kLlmc:
        return prepare_llmc(input, context);
      case PrepareFormat::kMegatron:
        return prepare_megatron(input, context);
      case PrepareFormat::kAuto:
      case PrepareFormat::kText:
        break;
    }
    return prepare_text(input, context);
  }

  Status check_split(const TokenWriter& train, const TokenWriter& validation) const {
    for (const TokenWriter* writer : {&train, &validation}) {
      if (writer->num_tokens() > 0) continue;
      if (writer == &validation && options_.validation_fraction == 0) continue;
      return error(
          Code::kBadData,
          "{} bytes of input at a validation fraction of {} leave nothing for {}; give more "
          "text or another --validation-fraction (0: no validation)",
          total_bytes_, options_.validation_fraction, writer->path());
    }
    return ok_status();
  }

  Status advance(int64_t bytes) {
    if (options_.stopped != nullptr && options_.stopped->load()) {
      return error(Code::kDrained, "stopped on request; nothing was changed in {}",
                   options_.output_dir);
    }
    done_bytes_ += bytes;
    if (bytes > 0 && options_.on_progress) options_.on_progress(done_bytes_, total_bytes_);
    return ok_status();
  }

  Status publish(TokenWriter& train, TokenWriter& validation) {
    LEASEHOLD_RETURN_IF_ERROR(train.publish());
    if (options_.validation_fraction > 0) {
      LEASEHOLD_RETURN_IF_ERROR(validation.publish());
    } else {
      // One from an earlier preparation would be taken for this text's.
      LEASEHOLD_RETURN_IF_ERROR(files_.remove_all(validation.path()));
    }
    // publish_file also makes the names of the others durable.
    return publish_file(files_, output("tokenizer.json"), tokenizer_.to_json(),
                        std::to_string(::getpid()));
  }

  FileSystem& files_;
  const Tokenizer& tokenizer_;
  const PrepareOptions& options_;
  ThreadPool pool_;
  std::vector<PrepareInput> inputs_;
  int64_t total_bytes_ = 0;
  int64_t done_bytes_ = 0;
};

}  // namespace

Result<PrepareSummary> prepare_tokens(FileSystem& files, const Tokenizer& tokenizer,
                                      const PrepareOptions& options) {
  LEASEHOLD_CHECK(options.chunk_bytes > 0, "chunks of {} bytes", options.chunk_bytes);
  if (options.inputs.empty()) return Status(Code::kUsage, "no input files given");
  if (options.output_dir.empty()) return Status(Code::kUsage, "no output directory given");
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    return error(Code::kUsage,
                 "a validation fraction of {} is not possible; it must be at least 0 "
                 "and below 1",
                 options.validation_fraction);
  }
  if (options.num_threads < 1) {
    return error(Code::kUsage, "--threads {}: at least 1", options.num_threads);
  }
  return Preparation(files, tokenizer, options).run();
}

}  // namespace leasehold
