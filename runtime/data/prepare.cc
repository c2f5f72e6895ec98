#include "runtime/data/prepare.h"

#include <algorithm>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/data/input_spool.h"
#include "runtime/data/parquet_input.h"

namespace leasehold {

namespace {

// The files of an earlier preparation, which give way to new ones together or not at all.
class EarlierSet {
 public:
  EarlierSet(FileSystem& files, std::vector<std::string> paths)
      : files_(files), paths_(std::move(paths)) {}

  // Renames those that exist to names of this process.
  Status set_aside() {
    for (const std::string& path : paths_) {
      if (!files_.exists(path)) continue;
      LEASEHOLD_RETURN_IF_ERROR(files_.rename(path, aside(path)));
      aside_.push_back(path);
    }
    is_aside_ = true;
    return ok_status();
  }

  // Removes what took their places and puts them back. Returns `failure`, with what could not be
  // undone.
  Status bring_back(const Status& failure) {
    Status undone;
    const auto note = [&](const Status& status) {
      if (undone.ok()) undone = status;
    };
    for (const std::string& path : paths_) {
      const bool was_there = std::ranges::count(aside_, path) > 0;
      if (was_there) {
        note(files_.rename(aside(path), path));
      } else if (is_aside_) {  // else nothing was published, and this is an earlier file
        note(files_.remove_all(path));
      }
    }
    return undone.ok() ? failure : failure.annotated("the earlier files: " + undone.message());
  }

  // Returns the first failure, after having tried all.
  Status remove() {
    Status first;
    for (const std::string& path : aside_) {
      const Status removed = files_.remove_all(aside(path));
      if (first.ok()) first = removed;
    }
    return first;
  }

 private:
  static std::string aside(const std::string& path) {
    return fmt::format("{}.before.{}.tmp", path, ::getpid());
  }

  FileSystem& files_;
  std::vector<std::string> paths_;
  std::vector<std::string> aside_;  // paths of those that were set aside
  bool is_aside_ = false;           // all of them
};

class Preparation {
 public:
  Preparation(FileSystem& files, const Tokenizer& tokenizer, const PrepareOptions& options)
      : files_(files), tokenizer_(tokenizer), options_(options), pool_(options.num_threads) {}

  ~Preparation() { remove_spooled(); }
  Preparation(const Preparation&) = delete;
  Preparation& operator=(const Preparation&) = delete;

  Result<PrepareSummary> run() {
    std::vector<std::string> made_dirs;  // innermost first
    for (std::string dir = options_.output_dir; dir != "." && !files_.exists(dir);
         dir = parent_path(dir)) {
      made_dirs.push_back(dir);
    }
    LEASEHOLD_RETURN_IF_ERROR(files_.make_directories(options_.output_dir));
    for (const std::string& dir : made_dirs) {
      LEASEHOLD_RETURN_IF_ERROR(files_.sync_directory(parent_path(dir)));
    }
    const Status found = find_inputs();
    auto summary = found.ok() ? write() : Result<PrepareSummary>(found);
    remove_spooled();
    if (!summary.ok()) remove_empty(made_dirs);
    return summary;
  }

 private:
  std::string output(const char* name) const { return join_path(options_.output_dir, name); }

  void remove_empty(const std::vector<std::string>& dirs) {
    for (const std::string& dir : dirs) {
      const auto names = files_.list(dir);
      if (names.ok() && names.value().empty()) (void)files_.remove_all(dir).ok();
    }
  }

  void remove_spooled() {
    for (const std::string& path : spooled_) (void)files_.remove_all(path).ok();
    spooled_.clear();
  }

  Status find_inputs() {
    if (std::ranges::count(options_.inputs, "-") > 1)
      return error(Code::kUsage, "standard input (-) is named twice; it comes once");
    for (const std::string& path : options_.inputs) LEASEHOLD_RETURN_IF_ERROR(find_input(path));
    return check_documents();
  }

  // The name of one more temporary file.
  const std::string& new_spool() {
    spooled_.push_back(output(fmt::format("input-{}.{}.tmp", spooled_.size(), ::getpid()).c_str()));
    return spooled_.back();
  }

  // The file to read for an input: its own, or a stream's copy.
  Result<std::string> file_of(const std::string& path) {
    if (!is_stream_path(path)) return path;
    const std::string copy = new_spool();
    LEASEHOLD_RETURN_IF_ERROR(spool_stream(files_, path, copy, [this] { return advance(0); }));
    return copy;
  }

  // Its rows take the place of the file.
  Status read_parquet(PrepareInput& input) {
    const std::string rows = new_spool();
    LEASEHOLD_RETURN_IF_ERROR(parquet_to_json_lines(files_, input.path, options_.field, rows,
                                                    [this] { return advance(0); }));
    LEASEHOLD_ASSIGN_OR_RETURN(const auto file, files_.open(rows));
    input.path = rows;
    input.size_bytes = file->size_bytes();
    if (input.size_bytes > 0) return ok_status();
    return error(Code::kBadData, "input {} has no rows; leave it out", input.name);
  }

  Status find_input(const std::string& path) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string file, file_of(path));
    LEASEHOLD_ASSIGN_OR_RETURN(PrepareInput input,
                               detect_input(files_, file, stream_name(path), options_.format));
    if (input.format == PrepareFormat::kParquet) LEASEHOLD_RETURN_IF_ERROR(read_parquet(input));
    for (const PrepareInput& before : inputs_) {
      if (input.index_path.empty() || input.index_path != before.index_path) continue;
      return error(Code::kUsage, "{} and {} are one dataset; name one of them", before.path,
                   before.index_path);
    }
    input_bytes_ += input.size_bytes;
    progress_bytes_ += progress_bytes(input, options_.validation_fraction);
    if (!input.notice.empty()) notify(input.notice);
    inputs_.push_back(std::move(input));
    return ok_status();
  }

  // Options for documents need an input that has some.
  Status check_documents() {
    const bool documents = std::ranges::any_of(
        inputs_, [](const PrepareInput& input) { return has_documents(input.format); });
    if (!documents && options_.field != PrepareOptions().field) {
      return error(Code::kUsage, "--field {}: no input has fields; JSON lines and Parquet have",
                   options_.field);
    }
    if (!documents && options_.document_options_given) {
      return error(Code::kUsage,
                   "--begin-token and --end-token stand around documents, and no input has some; "
                   "JSON lines and Parquet have");
    }
    if (documents && options_.end_documents && !tokenizer_.end_of_document()) {
      notify(
          "the tokenizer names no token that ends a document, so documents run into each other; "
          "--end-token TEXT names one, --end-token none wants it so");
    }
    return ok_status();
  }

  void notify(const std::string& notice) const {
    if (options_.on_notice) options_.on_notice(notice);
  }

  Result<PrepareSummary> write() {
    const int token_bytes = tokenizer_.vocab_size() <= 65536 ? 2 : 4;
    TokenWriter train(files_, output("train.bin"), token_bytes);
    TokenWriter validation(files_, output("validation.bin"), token_bytes);
    LEASEHOLD_RETURN_IF_ERROR(train.start());
    if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.start());
    const PrepareContext context = {
        .files = files_,
        .tokenizer = tokenizer_,
        .pool = pool_,
        .chunk_bytes = options_.chunk_bytes,
        .validation_fraction = options_.validation_fraction,
        .field = options_.field,
        .begin_token = options_.begin_documents ? tokenizer_.beginning_of_document() : std::nullopt,
        .end_token = options_.end_documents ? tokenizer_.end_of_document() : std::nullopt,
        .leave_out = [this](const Status& bad_line) { return leave_out(bad_line); },
        .advance = [this](int64_t bytes) { return advance(bytes); },
        .train = train,
        .validation = validation};
    for (const PrepareInput& input : inputs_) {
      LEASEHOLD_RETURN_IF_ERROR(prepare_input(input, context));
    }
    if (num_bad_lines_ > 0) {
      notify(fmt::format("{} line{} left out, the first: {}", num_bad_lines_,
                         num_bad_lines_ == 1 ? "" : "s", first_bad_line_));
    }
    LEASEHOLD_RETURN_IF_ERROR(check_split(train, validation));
    LEASEHOLD_RETURN_IF_ERROR(train.finish());
    if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.finish());
    LEASEHOLD_RETURN_IF_ERROR(publish(train, validation));
    return PrepareSummary{input_bytes_, train.num_tokens(), validation.num_tokens()};
  }

  static Status prepare_input(const PrepareInput& input, const PrepareContext& context) {
    switch (input.format) {
      case PrepareFormat::kJsonLines:
      case PrepareFormat::kParquet:
        return prepare_json_lines(input, context);
      case PrepareFormat::kLlmc:
        return prepare_llmc(input, context);
      case PrepareFormat::kMegatron:
        return prepare_megatron(input, context);
      case PrepareFormat::kUint16:
      case PrepareFormat::kUint32:
        return prepare_plain_tokens(input, context);
      case PrepareFormat::kAuto:
      case PrepareFormat::kText:
      case PrepareFormat::kBytes:
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
          input_bytes_, options_.validation_fraction, writer->path());
    }
    return ok_status();
  }

  Status leave_out(const Status& bad_line) {
    if (bad_line.code() != Code::kBadData || options_.most_bad_lines == 0) return bad_line;
    if (num_bad_lines_++ == 0) first_bad_line_ = bad_line.message();
    if (num_bad_lines_ <= options_.most_bad_lines) return ok_status();
    return error(Code::kBadData, "more than {} lines that are no documents; the first: {}",
                 options_.most_bad_lines, first_bad_line_);
  }

  Status advance(int64_t bytes) {
    if (options_.stopped != nullptr && options_.stopped->load()) {
      return error(Code::kDrained, "stopped on request; nothing was changed in {}",
                   options_.output_dir);
    }
    done_bytes_ += bytes;
    if (bytes > 0 && options_.on_progress) options_.on_progress(done_bytes_, progress_bytes_);
    return ok_status();
  }

  Status publish(TokenWriter& train, TokenWriter& validation) {
    EarlierSet earlier(files_, {train.path(), validation.path(), output("tokenizer.json")});
    const auto replace = [&]() -> Status {
      LEASEHOLD_RETURN_IF_ERROR(earlier.set_aside());
      LEASEHOLD_RETURN_IF_ERROR(train.publish());
      if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.publish());
      // publish_file also makes the names of the others durable.
      return publish_file(files_, output("tokenizer.json"), tokenizer_.to_json(),
                          std::to_string(::getpid()));
    };
    const Status replaced = replace();
    if (!replaced.ok()) return earlier.bring_back(replaced);
    const Status removed = earlier.remove();
    if (!removed.ok()) notify(removed.message());
    return ok_status();
  }

  FileSystem& files_;
  const Tokenizer& tokenizer_;
  const PrepareOptions& options_;
  ThreadPool pool_;
  std::vector<PrepareInput> inputs_;
  std::vector<std::string> spooled_;  // copies of streams
  int64_t input_bytes_ = 0;
  int64_t progress_bytes_ = 0;
  int64_t done_bytes_ = 0;
  int64_t num_bad_lines_ = 0;
  std::string first_bad_line_;
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
  if (options.num_threads < 1 || options.num_threads > kMaxPrepareThreads) {
    return error(Code::kUsage, "--threads {}: from 1 to {}", options.num_threads,
                 kMaxPrepareThreads);
  }
  return Preparation(files, tokenizer, options).run();
}

}  // namespace leasehold
