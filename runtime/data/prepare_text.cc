// Text and JSON lines to tokens: read in chunks that are cut where it changes no token, encoded by
// all threads, written in the order of the text.
#include <algorithm>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/data/input_stream.h"
#include "runtime/data/prepare_sources.h"
#include "runtime/data/text_check.h"

namespace leasehold {

namespace {

// The longest stretch of text that a tokenizer may want to see at once, and the longest line of
// JSON.
constexpr int64_t kMaxPendingBytes = int64_t{64} << 20;
constexpr size_t kChunksPerThread = 2;

struct Chunk {
  std::string text;
  int64_t read_bytes = 0;  // for the progress
  int64_t first_line = 1;
  bool begins = true;  // a text, which the chunks behind go on with
  std::vector<int32_t> tokens;
  std::vector<Status> bad_lines;
  Status status;
};

using Encode = std::function<Status(Chunk&)>;  // thread-safe; fills tokens

class OrderedEncoder {
 public:
  OrderedEncoder(const PrepareContext& context, Encode encode)
      : context_(context), encode_(std::move(encode)) {}

  Status add(Chunk chunk, TokenWriter& writer) {
    chunks_.push_back(std::move(chunk));
    const auto threads = static_cast<size_t>(context_.pool.num_threads());
    return chunks_.size() < kChunksPerThread * threads ? ok_status() : flush(writer);
  }

  Status flush(TokenWriter& writer) {
    context_.pool.run(static_cast<int64_t>(chunks_.size()), [&](int64_t i, int) {
      Chunk& chunk = chunks_[static_cast<size_t>(i)];
      chunk.status = encode_(chunk);
    });
    for (const Chunk& chunk : chunks_) {
      LEASEHOLD_RETURN_IF_ERROR(chunk.status);
      for (const Status& bad_line : chunk.bad_lines)
        LEASEHOLD_RETURN_IF_ERROR(context_.leave_out(bad_line));
      LEASEHOLD_RETURN_IF_ERROR(writer.append(chunk.tokens));
      LEASEHOLD_RETURN_IF_ERROR(context_.advance(chunk.read_bytes));
    }
    chunks_.clear();
    return ok_status();
  }

 private:
  const PrepareContext& context_;
  Encode encode_;
  std::vector<Chunk> chunks_;
};

// The way in which one text or many lie in a file.
struct TextForm {
  // Returns how much of the text may be encoded now, with more to come; 0: nothing yet.
  std::function<int64_t(std::string_view)> find_cut;
  // Returns where a new text may begin: at `at` or the least before it. text[at] exists.
  std::function<size_t(std::string_view text, size_t at)> find_begin;
  bool checked = true;  // that it is UTF-8
};

// A character of UTF-8 has at most this many bytes before its last.
constexpr int64_t kMaxCharacterTail = 3;

// Reads a file's text in pieces to chunks for training, and those behind the border for validation.
class TextReader {
 public:
  TextReader(const PrepareInput& input, const PrepareContext& context, const TextForm& form,
             Encode encode)
      : input_(input),
        context_(context),
        form_(form),
        encoder_(context, std::move(encode)),
        check_(input.name) {}

  Status run() {
    LEASEHOLD_RETURN_IF_ERROR(find_border());
    LEASEHOLD_ASSIGN_OR_RETURN(InputStream stream, InputStream::open(context_.files, input_.path,
                                                                     input_.name, input_.packing));
    for (bool ended = false; !ended;) {
      const int64_t wanted = next_bytes();
      LEASEHOLD_ASSIGN_OR_RETURN(const int64_t got, read(stream, wanted));
      ended = got < wanted;
      if (in_training_ && position_ > border_) LEASEHOLD_RETURN_IF_ERROR(cross_border());
      LEASEHOLD_RETURN_IF_ERROR(take_ready(ended));
    }
    if (form_.checked) LEASEHOLD_RETURN_IF_ERROR(check_.finish());
    LEASEHOLD_RETURN_IF_ERROR(encoder_.flush(writer()));
    return context_.advance(read_bytes_);
  }

 private:
  TokenWriter& writer() { return in_training_ ? context_.train : context_.validation; }

  Status find_border() {
    if (context_.validation_fraction == 0) return ok_status();
    int64_t size = input_.size_bytes;
    if (input_.packing) {
      LEASEHOLD_ASSIGN_OR_RETURN(size, measure_unpacked(context_.files, input_.path, input_.name,
                                                        *input_.packing, context_.advance));
    }
    border_ = fraction_cut(size, context_.validation_fraction);
    return ok_status();
  }

  // Up to the border at once and a byte more, so that the character there is seen whole.
  int64_t next_bytes() const {
    const int64_t left = border_ - position_;
    const bool near = in_training_ && left <= context_.chunk_bytes + kMaxCharacterTail;
    const int64_t wanted = near ? left + 1 : context_.chunk_bytes;
    return position_ == 0 ? std::max(wanted, static_cast<int64_t>(kUtf8Mark.size())) : wanted;
  }

  Result<int64_t> read(InputStream& stream, int64_t wanted) {
    const size_t held = pending_.size();
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t got, stream.read(wanted, pending_));
    const std::string_view piece = std::string_view(pending_).substr(held);
    if (form_.checked) LEASEHOLD_RETURN_IF_ERROR(check_.add(piece));
    // A mark says that this is UTF-8, and is no text.
    if (form_.checked && position_ == 0 && piece.starts_with(kUtf8Mark))
      pending_.erase(0, kUtf8Mark.size());
    position_ += got;
    read_bytes_ += stream.file_bytes() - file_bytes_;
    file_bytes_ = stream.file_bytes();
    return got;
  }

  Status cross_border() {
    const size_t behind = std::min(pending_.size(), static_cast<size_t>(position_ - border_));
    if (behind > 0)
      LEASEHOLD_RETURN_IF_ERROR(add(form_.find_begin(pending_, pending_.size() - behind)));
    LEASEHOLD_RETURN_IF_ERROR(encoder_.flush(writer()));
    in_training_ = false;
    begins_ = true;
    return ok_status();
  }

  Status take_ready(bool ended) {
    const auto total = static_cast<int64_t>(pending_.size());
    const int64_t ready = ended || total == 0 ? total : form_.find_cut(pending_);
    LEASEHOLD_CHECK(ready >= 0 && ready <= total, "{} bytes are split at {}", total, ready);
    if (total - ready > kMaxPendingBytes) {
      return error(Code::kBadData,
                   "input {}: {} bytes without a place where they can be cut; break the text into "
                   "lines, or make it documents of JSON lines",
                   input_.name, total);
    }
    return add(static_cast<size_t>(ready));
  }

  // The first `size` bytes of what is pending become a chunk.
  Status add(size_t size) {
    if (size == 0) return context_.advance(0);  // asked to stop?
    Chunk chunk;
    chunk.text = pending_.substr(0, size);
    pending_.erase(0, size);
    chunk.read_bytes = std::exchange(read_bytes_, 0);
    chunk.begins = std::exchange(begins_, false);
    chunk.first_line = line_;
    line_ += std::ranges::count(chunk.text, '\n');
    return encoder_.add(std::move(chunk), writer());
  }

  const PrepareInput& input_;
  const PrepareContext& context_;
  const TextForm& form_;
  OrderedEncoder encoder_;
  TextCheck check_;
  int64_t border_ = kNoBorder;
  bool in_training_ = true;
  bool begins_ = true;
  std::string pending_;     // read and not yet in a chunk
  int64_t position_ = 0;    // bytes of text read
  int64_t file_bytes_ = 0;  // bytes of the file read
  int64_t read_bytes_ = 0;  // of them those that no chunk has counted
  int64_t line_ = 1;

  static constexpr int64_t kNoBorder = int64_t{1} << 62;
};

bool continues_character(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// In text that is not UTF-8 the place stays where it is.
size_t find_character_begin(std::string_view text, size_t at) {
  const size_t first = at - std::min<size_t>(at, kMaxCharacterTail);
  for (size_t begin = at + 1; begin-- > first;) {
    if (!continues_character(text[begin])) return begin;
  }
  return at;
}

size_t find_line_begin(std::string_view text, size_t at) {
  return text.substr(0, at).rfind('\n') + 1;
}

}  // namespace

Status prepare_text(const PrepareInput& input, const PrepareContext& context) {
  const Tokenizer& tokenizer = context.tokenizer;
  const TextForm form = {
      .find_cut = [&](std::string_view text) { return tokenizer.separable_prefix(text); },
      .find_begin = find_character_begin,
      .checked = input.format != PrepareFormat::kBytes};
  return TextReader(input, context, form,
                    [&](Chunk& chunk) {
                      auto tokens = chunk.begins ? tokenizer.encode(chunk.text)
                                                 : tokenizer.encode_rest(chunk.text);
                      if (!tokens.ok())
                        return tokens.status().annotated(
                            fmt::format("input {}: from line {}", input.name, chunk.first_line));
                      chunk.tokens = std::move(tokens).value();
                      return ok_status();
                    })
      .run();
}

Status prepare_json_lines(const PrepareInput& input, const PrepareContext& context) {
  const TextForm form = {
      .find_cut = [](std::string_view text) { return static_cast<int64_t>(text.rfind('\n') + 1); },
      .find_begin = find_line_begin};
  return TextReader(input, context, form,
                    [&](Chunk& chunk) {
                      std::string_view left = chunk.text;
                      for (int64_t line = chunk.first_line; !left.empty(); ++line) {
                        const size_t end = std::min(left.find('\n'), left.size());
                        const Status status =
                            encode_json_line(left.substr(0, end), context, chunk.tokens);
                        if (!status.ok()) {
                          chunk.bad_lines.push_back(status.annotated(fmt::format(
                              "input {}: {} {}", input.name,
                              input.format == PrepareFormat::kParquet ? "row" : "line", line)));
                        }
                        left.remove_prefix(std::min(end + 1, left.size()));
                      }
                      return ok_status();
                    })
      .run();
}

}  // namespace leasehold
