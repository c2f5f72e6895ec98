// The files in RUN_DIR/supervisor by which a supervisor is found and known:
//   control.json   what operators and a following supervisor need; only its owner may read it
//   agent_key      the key of the agents' reports, made at the first launch and never changed, so
//                  that a generation knows every supervisor of its run; only its owner may read it.
//                  It opens no operator's request
//   address        where agents reach the supervisor: public. Whoever writes another one there only
//                  makes agents talk to somebody whom they do not believe
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/files.h"
#include "runtime/base/mac.h"
#include "runtime/base/status.h"

namespace leasehold {

struct ControlFile {
  int64_t pid = 0;
  int operator_port = 0;  // on loopback
  int cluster_port = 0;   // the next supervisor takes the same ones if they are free
  SecretKey operator_key;
  std::string scraper_token;  // opens GET /metrics of the operators' port, and nothing else

  bool operator==(const ControlFile&) const = default;
};

std::string encode_control_file(const ControlFile& control);
// Strict (fuzzed): kBadData, naming `file`; the secrets are in no message.
Result<ControlFile> parse_control_file(std::string_view text, const std::string& file);

// Publishes it with mode 0600. kStorage.
Status write_control_file(const std::string& run_dir, const ControlFile& control);
// kMissingInput when there is none.
Result<ControlFile> read_control_file(FileSystem& files, const std::string& run_dir);

// As read_key_file and publish_key_file.
Result<SecretKey> read_agent_key(FileSystem& files, const std::string& run_dir);
Status write_agent_key(const std::string& run_dir, const SecretKey& key);

// "address:port". kMissingInput when there is none.
Result<std::string> read_supervisor_address(FileSystem& files, const std::string& run_dir);
Status write_supervisor_address(FileSystem& files, const std::string& run_dir,
                                const std::string& address);

}  // namespace leasehold
