// Fuzzes manifest.json with any bytes: they are refused, or give a manifest that covers its tensors
// and survives writing. The digest is checked last, so everything before it is reached. The code
// after a good digest is reached by trying the same bytes as a shard's index and summary, which
// have no digest.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/shard_index.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

void try_manifest(std::string_view text) {
  const Result<Manifest> manifest = parse_manifest(text, "fuzz");
  if (!manifest.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(manifest.status().code() == Code::kBadData &&
                           !manifest.status().message().empty());
    return;
  }
  for (const StoredTensor& tensor : manifest->tensors) {
    LEASEHOLD_FUZZ_REQUIRE(manifest->find(tensor.parameter, tensor.kind) == &tensor);
    std::vector<BoxRange> parts;
    for (const HeldBox& held : tensor.boxes) {
      int64_t elements = 0;
      for (const HeldRun& run : held.runs) {
        LEASEHOLD_FUZZ_REQUIRE(run.first + (run.count - 1) * run.stride <
                               static_cast<int64_t>(manifest->files.size()));
        elements += run.elements * run.count;
      }
      parts.push_back({held.box, 0, elements});
    }
    for (const Piece& piece : tensor.pieces) {
      LEASEHOLD_FUZZ_REQUIRE(piece.file >= 0 &&
                             piece.file < static_cast<int64_t>(manifest->files.size()));
      parts.push_back(piece.range);
    }
    LEASEHOLD_FUZZ_REQUIRE(check_cover(tensor.shape, parts).ok());
  }
  const Result<std::string> written = encode_manifest(*manifest);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const Result<Manifest> again = parse_manifest(*written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *manifest);
}

void try_index(std::string_view text) {
  const Result<std::vector<StoredTensor>> tensors = parse_shard_index(text, "fuzz");
  if (!tensors.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(tensors.status().code() == Code::kBadData);
    return;
  }
  const Result<std::string> written = encode_shard_index(*tensors);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const Result<std::vector<StoredTensor>> again = parse_shard_index(*written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *tensors);
  // Merged alone, the shard gives a checkpoint of version 1 or is refused. The checkpoint can be
  // written and read.
  const Result<Manifest> merged = merge_shards({}, {{{.name = "shard"}, *tensors}});
  if (!merged.ok()) return;
  const Result<std::string> manifest = encode_manifest(*merged);
  LEASEHOLD_FUZZ_REQUIRE(manifest.ok() && parse_manifest(*manifest, "fuzz").ok());
}

void try_summary(std::string_view text) {
  const Result<ShardSummary> summary = parse_summary(text, "fuzz");
  if (!summary.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(summary.status().code() == Code::kBadData);
    return;
  }
  const Result<std::string> written = encode_summary(*summary);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const Result<ShardSummary> again = parse_summary(*written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *summary);
  const Result<Manifest> merged = merge_summaries({}, {*written});
  if (!merged.ok()) return;
  const Result<std::string> manifest = encode_manifest(*merged);
  LEASEHOLD_FUZZ_REQUIRE(manifest.ok());
  const Result<Manifest> read = parse_manifest(*manifest, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(summary->file.index_bytes > summary->file.size_bytes ||
                         (read.ok() && *read == *merged));
}

void try_everything(std::string_view bytes) {
  try_manifest(bytes);
  try_index(bytes);
  try_summary(bytes);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_everything({reinterpret_cast<const char*>(data), size});
  return 0;
}
