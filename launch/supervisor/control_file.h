// RUN_DIR/supervisor/control.json: how operators and a following supervisor reach the one that
// runs. Only its owner may read it: it holds the token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

struct ControlFile {
  int64_t pid = 0;
  int operator_port = 0;  // on loopback
  int cluster_port = 0;   // agents of a generation that outlives its supervisor go on to call it
  std::string token;

  bool operator==(const ControlFile&) const = default;
};

std::string encode_control_file(const ControlFile& control);
// Strict (fuzzed): kBadData, naming `file`; the token is in no message.
Result<ControlFile> parse_control_file(std::string_view text, const std::string& file);

// Publishes it with mode 0600. kStorage.
Status write_control_file(const std::string& run_dir, const ControlFile& control);
// kMissingInput when there is none.
Result<ControlFile> read_control_file(FileSystem& files, const std::string& run_dir);

}  // namespace leasehold
