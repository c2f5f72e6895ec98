// Fuzzes the description of a snapshot with any bytes: they are refused, or give one that survives
// writing.
#include <cstdint>
#include <string_view>

#include "runtime/checkpoint/snapshot_description.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

void try_snapshot(std::string_view text) {
  const Result<SnapshotDescription> snapshot = parse_snapshot(text, "fuzz");
  if (!snapshot.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(snapshot.status().code() == Code::kBadData &&
                           !snapshot.status().message().empty());
    return;
  }
  const Result<std::string> written = encode_snapshot(*snapshot);
  LEASEHOLD_FUZZ_REQUIRE(written.ok());
  const Result<SnapshotDescription> again = parse_snapshot(*written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *snapshot);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_snapshot({reinterpret_cast<const char*>(data), size});
  return 0;
}
