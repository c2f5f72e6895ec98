// Text and JSON lines to tokens: read in chunks that are cut where it changes no token, encoded by
// all threads, written in the order of the text.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/base/check.h"
#include "runtime/data/prepare_sources.h"

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

// How much of the text may be encoded now, with more to come; 0: nothing yet.
using FindCut = std::function<int64_t(std::string_view)>;

// Reads bytes [begin, end) into chunks. `line`: the number of the first line; left at that behind
// the last.
Status encode_range(const PrepareContext& context, const PrepareInput& input, ReadableFile& file,
                    int64_t begin, int64_t end, const FindCut& find_cut, OrderedEncoder& encoder,
                    TokenWriter& writer, int64_t& line) {
  std::string pending;
  int64_t read_bytes = 0;
  bool begins = true;
  while (begin < end) {
    const int64_t size = std::min(context.chunk_bytes, end - begin);
    const size_t held = pending.size();
    pending.resize(held + static_cast<size_t>(size));
    LEASEHOLD_RETURN_IF_ERROR(file.read_at(begin, pending.data() + held, size));
    begin += size;
    read_bytes += size;
    const auto total = static_cast<int64_t>(pending.size());
    const int64_t ready = begin == end ? total : find_cut(pending);
    LEASEHOLD_CHECK(ready >= 0 && ready <= total, "{} bytes are split at {}", total, ready);
    if (total - ready > kMaxPendingBytes) {
      return error(Code::kBadData,
                   "input {}: {} bytes without a place where they can be cut; break the text into "
                   "lines",
                   input.path, total);
    }
    if (ready == 0) {
      LEASEHOLD_RETURN_IF_ERROR(context.advance(0));  // asked to stop?
      continue;
    }
    Chunk chunk;
    chunk.text = pending.substr(0, static_cast<size_t>(ready));
    pending.erase(0, static_cast<size_t>(ready));
    chunk.read_bytes = read_bytes;
    read_bytes = 0;
    chunk.begins = std::exchange(begins, false);
    chunk.first_line = line;
    line += std::ranges::count(chunk.text, '\n');
    LEASEHOLD_RETURN_IF_ERROR(encoder.add(std::move(chunk), writer));
  }
  return encoder.flush(writer);
}

bool continues_character(char byte) { return (static_cast<uint8_t>(byte) & 0xC0) == 0x80; }

// Where validation begins: at `fraction` from the end, moved back to the start of a UTF-8
// character. In text that is not UTF-8 it stays where it is.
Result<int64_t> find_character_cut(ReadableFile& file, double fraction) {
  const int64_t cut = fraction_cut(file.size_bytes(), fraction);
  if (cut == file.size_bytes()) return cut;
  char bytes[4];  // the three bytes before the cut and the one behind it
  const int64_t begin = std::max<int64_t>(0, cut - 3);
  LEASEHOLD_RETURN_IF_ERROR(file.read_at(begin, bytes, cut + 1 - begin));
  for (int64_t at = cut; at >= begin; --at) {
    if (!continues_character(bytes[at - begin])) return at;
  }
  return cut;
}

// The same, moved back to the start of a line.
Result<int64_t> find_line_cut(ReadableFile& file, double fraction) {
  constexpr int64_t kBlock = 65536;
  const int64_t cut = fraction_cut(file.size_bytes(), fraction);
  if (cut == file.size_bytes()) return cut;
  std::string block;
  for (int64_t end = cut; end > 0;) {
    const int64_t begin = std::max<int64_t>(0, end - kBlock);
    block.resize(static_cast<size_t>(end - begin));
    LEASEHOLD_RETURN_IF_ERROR(file.read_at(begin, block.data(), end - begin));
    const size_t newline = block.rfind('\n');
    if (newline != std::string::npos) return begin + static_cast<int64_t>(newline) + 1;
    end = begin;
  }
  return 0;
}

Status prepare_chunks(const PrepareInput& input, const PrepareContext& context, int64_t cut,
                      ReadableFile& file, const FindCut& find_cut, Encode encode) {
  OrderedEncoder encoder(context, std::move(encode));
  int64_t line = 1;
  LEASEHOLD_RETURN_IF_ERROR(
      encode_range(context, input, file, 0, cut, find_cut, encoder, context.train, line));
  return encode_range(context, input, file, cut, file.size_bytes(), find_cut, encoder,
                      context.validation, line);
}

// Appends the document of one line and the token that ends it.
Status encode_line(std::string_view line, const Tokenizer& tokenizer, std::vector<int32_t>& out) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return ok_status();
  const auto root = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  const auto bad = [](const char* what) {
    return error(Code::kBadData,
                 "{}; a line is a JSON object with the document in \"text\" (say --format text if "
                 "this is no JSON lines file)",
                 what);
  };
  if (root.is_discarded()) return bad("not valid JSON");
  if (!root.is_object()) return bad("not a JSON object");
  const auto text = root.find("text");
  if (text == root.end()) return bad("no \"text\"");
  if (!text->is_string()) return bad("\"text\" is not a string");
  LEASEHOLD_ASSIGN_OR_RETURN(const auto tokens,
                             tokenizer.encode(text->get_ref<const std::string&>()));
  if (tokens.empty()) return ok_status();
  out.insert(out.end(), tokens.begin(), tokens.end());
  if (tokenizer.end_of_document()) out.push_back(*tokenizer.end_of_document());
  return ok_status();
}

}  // namespace

Status prepare_text(const PrepareInput& input, const PrepareContext& context) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, context.files.open(input.path));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t cut,
                             find_character_cut(*file, context.validation_fraction));
  const Tokenizer& tokenizer = context.tokenizer;
  return prepare_chunks(
      input, context, cut, *file,
      [&](std::string_view text) { return tokenizer.separable_prefix(text); },
      [&](Chunk& chunk) {
        auto tokens =
            chunk.begins ? tokenizer.encode(chunk.text) : tokenizer.encode_rest(chunk.text);
        if (!tokens.ok()) return tokens.status().annotated("input " + input.path);
        chunk.tokens = std::move(tokens).value();
        return ok_status();
      });
}

Status prepare_json_lines(const PrepareInput& input, const PrepareContext& context) {
  LEASEHOLD_ASSIGN_OR_RETURN(auto file, context.files.open(input.path));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t cut, find_line_cut(*file, context.validation_fraction));
  return prepare_chunks(
      input, context, cut, *file,
      [](std::string_view text) { return static_cast<int64_t>(text.rfind('\n') + 1); },
      [&](Chunk& chunk) {
        std::string_view left = chunk.text;
        for (int64_t line = chunk.first_line; !left.empty(); ++line) {
          const size_t end = std::min(left.find('\n'), left.size());
          const Status status = encode_line(left.substr(0, end), context.tokenizer, chunk.tokens);
          if (!status.ok())
            return status.annotated(fmt::format("input {}: line {}", input.path, line));
          left.remove_prefix(std::min(end + 1, left.size()));
        }
        return ok_status();
      });
}

}  // namespace leasehold
