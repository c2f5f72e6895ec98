// Any bytes as a manifest.json: refused, or a manifest that covers its tensors and survives
// writing. The digest is checked last, so that everything before it is reached; what comes after a
// good digest is reached by trying the same bytes as one rank's pieces, which have none.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/checkpoint/manifest.h"
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

void try_shard_pieces(std::string_view text) {
  const Result<ShardPieces> pieces = parse_shard_pieces(text, "fuzz");
  if (!pieces.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(pieces.status().code() == Code::kBadData);
    return;
  }
  const Result<std::string> written = encode_shard_pieces(*pieces);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const Result<ShardPieces> again = parse_shard_pieces(*written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *pieces);
  // Merged alone it is a checkpoint or it is refused; a checkpoint can be written and read.
  const Result<Manifest> merged = merge_shards({}, {*pieces});
  if (!merged.ok()) return;
  const Result<std::string> manifest = encode_manifest(*merged);
  LEASEHOLD_FUZZ_REQUIRE(manifest.ok() && parse_manifest(*manifest, "fuzz").ok());
}

void try_everything(std::string_view bytes) {
  try_manifest(bytes);
  try_shard_pieces(bytes);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_everything({reinterpret_cast<const char*>(data), size});
  return 0;
}
