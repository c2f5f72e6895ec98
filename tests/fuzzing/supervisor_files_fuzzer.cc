// Fuzzes the small files that the supervisor and the keeper write with any bytes: they are refused
// as bad data, or survive writing. The output of mpirun is only read for hints, and may be
// anything.
#include <cstdint>
#include <string>
#include <string_view>

#include "launch/launchers/launcher.h"
#include "launch/supervisor/control_file.h"
#include "launch/supervisor/outcome.h"
#include "launch/supervisor/process_identity.h"
#include "launch/supervisor/state.h"
#include "launch/supervisor/world_file.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

template <typename Parse, typename Encode>
void try_file(std::string_view text, const Parse& parse, const Encode& encode) {
  const auto parsed = parse(text, "fuzz");
  if (!parsed.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(parsed.status().code() == Code::kBadData);
    LEASEHOLD_FUZZ_REQUIRE(parsed.status().message().starts_with("fuzz"));
    return;
  }
  const std::string written = encode(*parsed);
  const auto again = parse(written, "fuzz");
  LEASEHOLD_FUZZ_REQUIRE(again.ok() && encode(*again) == written);
}

void try_everything(std::string_view text) {
  try_file(text, parse_state, encode_state);
  try_file(text, parse_world, encode_world);
  try_file(text, parse_outcome, encode_outcome);
  try_file(text, parse_identity, encode_identity);
  try_file(text, parse_control_file, encode_control_file);
  const std::vector<PlannedHost> hosts = {{.host = "head", .slots = 2, .lease = "x"}};
  for (const auto& create : {create_open_mpi_4, create_open_mpi_5, create_mpich}) {
    const FailureReport report = create("4.1.4")->read_failure(text, hosts);
    LEASEHOLD_FUZZ_REQUIRE(report.message.size() <= kMaxFailureMessageBytes);
    LEASEHOLD_FUZZ_REQUIRE(!report.rank || *report.rank >= 0);
    LEASEHOLD_FUZZ_REQUIRE(!report.exit_code || (*report.exit_code > 0 && *report.exit_code < 256));
  }
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leasehold::try_everything({reinterpret_cast<const char*>(data), size});
  return 0;
}
