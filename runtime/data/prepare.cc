#include "runtime/data/prepare.h"

#include <algorithm>
#include <cmath>
#include <unistd.h>

#include "runtime/base/check.h"
#include "runtime/data/token_file.h"

namespace leasehold {

namespace {

// The longest stretch of text that a tokenizer may want to see at once.
constexpr int64_t kMaxPendingBytes = int64_t{64} << 20;
constexpr int64_t kProgressBytes = int64_t{256} << 20;

// A token file under its temporary name. Removes it unless it was published.
class TokenWriter {
 public:
  TokenWriter(FileSystem& files, std::string path, int token_bytes)
      : files_(files),
        path_(std::move(path)),
        temporary_(fmt::format("{}.{}.tmp", path_, ::getpid())),
        token_bytes_(token_bytes) {}
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;
  ~TokenWriter() {
    // The error that brought us here is the one to report.
    if (created_ && !published_) (void)files_.remove_all(temporary_).ok();
  }

  const std::string& path() const { return path_; }
  int64_t num_tokens() const { return num_tokens_; }

  Status start() {
    LEASEHOLD_ASSIGN_OR_RETURN(file_, files_.create(temporary_));
    created_ = true;
    const std::string header = make_token_header(0, token_bytes_);
    return file_->append(header.data(), static_cast<int64_t>(header.size()));
  }

  Status append(std::span<const int32_t> tokens) {
    num_tokens_ += static_cast<int64_t>(tokens.size());
    if (token_bytes_ == 4) {
      return file_->append(tokens.data(), static_cast<int64_t>(tokens.size_bytes()));
    }
    narrow_.assign(tokens.begin(), tokens.end());
    return file_->append(narrow_.data(), static_cast<int64_t>(narrow_.size() * sizeof(uint16_t)));
  }

  // Complete and durable, still under the temporary name.
  Status finish() {
    const std::string header = make_token_header(num_tokens_, token_bytes_);
    LEASEHOLD_RETURN_IF_ERROR(
        file_->overwrite(0, header.data(), static_cast<int64_t>(header.size())));
    LEASEHOLD_RETURN_IF_ERROR(file_->sync());
    return file_->close();
  }

  Status publish() {
    LEASEHOLD_RETURN_IF_ERROR(files_.rename(temporary_, path_));
    published_ = true;
    return ok_status();
  }

 private:
  FileSystem& files_;
  std::string path_;
  std::string temporary_;
  int token_bytes_;
  std::unique_ptr<WritableFile> file_;
  std::vector<uint16_t> narrow_;
  int64_t num_tokens_ = 0;
  bool created_ = false;
  bool published_ = false;
};

// An input that cannot be opened is a missing input, whatever the reason.
Result<std::unique_ptr<ReadableFile>> open_input(FileSystem& files, const std::string& path) {
  auto file = files.open(path);
  if (!file.ok()) return error(Code::kMissingInput, "input {}", file.status().message());
  if (file.value()->size_bytes() == 0) {
    return error(Code::kBadData, "input {} is empty; leave it out or fill it", path);
  }
  return file;
}

bool continues_character(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// Where validation begins: at `fraction` from the end, moved back to the start of a UTF-8
// character. In text that is not UTF-8 it stays where it is.
Result<int64_t> find_cut(ReadableFile& file, double fraction) {
  const int64_t size = file.size_bytes();
  const int64_t tail = static_cast<int64_t>(std::floor(fraction * static_cast<double>(size)));
  const int64_t cut = size - tail;
  if (tail == 0) return size;
  char bytes[4];  // the three bytes before the cut and the one behind it
  const int64_t begin = std::max<int64_t>(0, cut - 3);
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(begin, bytes, cut + 1 - begin));
  for (int64_t at = cut; at >= begin; --at) {
    if (!continues_character(bytes[at - begin])) return at;
  }
  return cut;
}

class Preparation {
 public:
  Preparation(FileSystem& files, const Tokenizer& tokenizer, const PrepareOptions& options,
              const Logger& logger)
      : files_(files), tokenizer_(tokenizer), options_(options), logger_(logger) {}

  Result<PrepareSummary> run() {
    for (const std::string& input : options_.inputs) {
      LEASEHOLD_ASSIGN_OR_RETURN(auto file, open_input(files_, input));
      total_bytes_ += file->size_bytes();
    }
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

  Result<PrepareSummary> write() {
    const int token_bytes = tokenizer_.vocab_size() <= 65536 ? 2 : 4;
    TokenWriter train(files_, output("train.bin"), token_bytes);
    TokenWriter validation(files_, output("validation.bin"), token_bytes);
    LEASEHOLD_RETURN_IF_ERROR(train.start());
    if (options_.validation_fraction > 0) LEASEHOLD_RETURN_IF_ERROR(validation.start());
    for (const std::string& input : options_.inputs) {
      LEASEHOLD_ASSIGN_OR_RETURN(auto file, open_input(files_, input));
      LEASEHOLD_ASSIGN_OR_RETURN(const int64_t cut, find_cut(*file, options_.validation_fraction));
      LEASEHOLD_RETURN_IF_ERROR(encode_range(*file, 0, cut, train));
      LEASEHOLD_RETURN_IF_ERROR(encode_range(*file, cut, file->size_bytes(), validation));
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
    return PrepareSummary{done_bytes_, train.num_tokens(), validation.num_tokens()};
  }

  Status check_split(const TokenWriter& train, const TokenWriter& validation) const {
    if (options_.validation_fraction == 0) return ok_status();
    for (const TokenWriter* writer : {&train, &validation}) {
      if (writer->num_tokens() > 0) continue;
      return error(
          Code::kBadData,
          "{} bytes of text at a validation fraction of {} leave nothing for {}; give more "
          "text or another --validation-fraction (0: no validation)",
          total_bytes_, options_.validation_fraction, writer->path());
    }
    return ok_status();
  }

  // The tokens of bytes [begin, end), encoded as one text.
  Status encode_range(ReadableFile& file, int64_t begin, int64_t end, TokenWriter& writer) {
    pending_.clear();
    while (begin < end) {
      if (options_.stopped != nullptr && options_.stopped->load()) {
        return error(Code::kDrained, "stopped on request; nothing was changed in {}",
                     options_.output_dir);
      }
      const int64_t chunk = std::min(options_.chunk_bytes, end - begin);
      const size_t held = pending_.size();
      pending_.resize(held + static_cast<size_t>(chunk));
      LEASEHOLD_RETURN_IF_ERROR(file.read_at(begin, pending_.data() + held, chunk));
      begin += chunk;
      LEASEHOLD_RETURN_IF_ERROR(encode_pending(begin == end, writer));
      report(chunk);
    }
    return ok_status();
  }

  Status encode_pending(bool last, TokenWriter& writer) {
    const int64_t held = static_cast<int64_t>(pending_.size());
    const int64_t ready = last ? held : tokenizer_.separable_prefix(pending_);
    LEASEHOLD_CHECK(ready >= 0 && ready <= held, "the {} tokenizer splits {} bytes at {}",
                    tokenizer_.name(), held, ready);
    if (held - ready > kMaxPendingBytes) {
      return error(
          Code::kBadData,
          "{} bytes of text without a place where the {} tokenizer can split it; break the "
          "text into lines",
          held, tokenizer_.name());
    }
    if (ready == 0) return ok_status();
    const auto tokens =
        tokenizer_.encode(std::string_view(pending_).substr(0, static_cast<size_t>(ready)));
    pending_.erase(0, static_cast<size_t>(ready));
    return writer.append(tokens);
  }

  void report(int64_t chunk_bytes) {
    const int64_t before = done_bytes_ / kProgressBytes;
    done_bytes_ += chunk_bytes;
    if (done_bytes_ / kProgressBytes > before) {
      logger_.info("{:.0f}% of {:.1f} MB",
                   100.0 * static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_),
                   static_cast<double>(total_bytes_) / 1e6);
    }
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
  const Logger& logger_;
  std::string pending_;
  int64_t total_bytes_ = 0;
  int64_t done_bytes_ = 0;
};

}  // namespace

Result<PrepareSummary> prepare_tokens(FileSystem& files, const Tokenizer& tokenizer,
                                      const PrepareOptions& options, const Logger& logger) {
  LEASEHOLD_CHECK(options.chunk_bytes > 0, "chunks of {} bytes", options.chunk_bytes);
  if (options.inputs.empty()) return Status(Code::kUsage, "no input files given");
  if (options.output_dir.empty()) return Status(Code::kUsage, "no output directory given");
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    return error(Code::kUsage,
                 "a validation fraction of {} is not possible; it must be at least 0 "
                 "and below 1",
                 options.validation_fraction);
  }
  return Preparation(files, tokenizer, options, logger).run();
}

}  // namespace leasehold
