#include "runtime/checkpoint/run_key.h"

namespace leasehold {

namespace {

std::string key_path(const std::string& run_dir) { return join_path(run_dir, "key"); }

// Puts a new key in place unless there is one.
Status draw_run_key(const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(const SecretKey key, SecretKey::make());
  const Status made = private_files().create_exclusive(key_path(run_dir), key.to_hex() + "\n");
  return made.code() == Code::kBadConfig ? ok_status() : made;  // another was faster
}

}  // namespace

Result<SecretKey> read_run_key(const std::string& run_dir) {
  Result<SecretKey> key = read_key_file(private_files(), key_path(run_dir));
  if (key.ok() || key.status().code() == Code::kMissingInput) return key;
  return error(key.status().code(),
               "{}. Snapshots in memory are sealed by this key: run as its owner with mode 600, or "
               "remove it (what is in memory is lost then), or write checkpoint.snapshot = \"off\"",
               key.status().message());
}

Result<SecretKey> load_run_key(const std::string& run_dir) {
  Result<SecretKey> key = read_run_key(run_dir);
  if (key.status().code() != Code::kMissingInput) return key;
  LEASEHOLD_RETURN_IF_ERROR(posix_files().make_directories(run_dir));
  LEASEHOLD_RETURN_IF_ERROR(draw_run_key(run_dir));
  return read_run_key(run_dir);
}

}  // namespace leasehold
