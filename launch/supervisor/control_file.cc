#include "launch/supervisor/control_file.h"

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxControlBytes = 64 << 10;
constexpr size_t kMaxTokenBytes = 256;

std::string file_in(const std::string& run_dir, const std::string& name) {
  return join_path(join_path(run_dir, "supervisor"), name);
}

std::string control_path(const std::string& run_dir) { return file_in(run_dir, "control.json"); }
std::string agent_key_path(const std::string& run_dir) { return file_in(run_dir, "agent_key"); }
std::string address_path(const std::string& run_dir) { return file_in(run_dir, "address"); }

Result<int> parse_port(const JsonCursor& at) {
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t port, at.integer(1, 65535));
  return static_cast<int>(port);
}

}  // namespace

std::string encode_control_file(const ControlFile& control) {
  const nlohmann::ordered_json object = {{"pid", control.pid},
                                         {"operator_port", control.operator_port},
                                         {"cluster_port", control.cluster_port},
                                         {"operator_key", control.operator_key.to_hex()},
                                         {"scraper_token", control.scraper_token}};
  return object.dump() + "\n";
}

Result<ControlFile> parse_control_file(std::string_view text, const std::string& file) {
  const auto json = parse_strict_json(text, file, 1);
  // Its message would quote what was read last, which may be a secret.
  if (!json.ok()) return error(Code::kBadData, "{}: not one JSON object", file);
  const JsonCursor root(*json, file);
  LEASEHOLD_RETURN_IF_ERROR(root.expect_fields(
      {"pid", "operator_port", "cluster_port", "operator_key", "scraper_token"}));
  ControlFile control;
  LEASEHOLD_ASSIGN_OR_RETURN(control.pid, root.field("pid").integer(1, INT32_MAX));
  LEASEHOLD_ASSIGN_OR_RETURN(control.operator_port, parse_port(root.field("operator_port")));
  LEASEHOLD_ASSIGN_OR_RETURN(control.cluster_port, parse_port(root.field("cluster_port")));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string key, root.field("operator_key").string());
  LEASEHOLD_ASSIGN_OR_RETURN(control.operator_key, SecretKey::parse(key, file + ": operator_key"));
  LEASEHOLD_ASSIGN_OR_RETURN(control.scraper_token, root.field("scraper_token").string());
  if (control.scraper_token.empty() || control.scraper_token.size() > kMaxTokenBytes) {
    return root.field("scraper_token").bad("it is no token");
  }
  return control;
}

Status write_control_file(const std::string& run_dir, const ControlFile& control) {
  return publish_private_file(control_path(run_dir), encode_control_file(control));
}

Result<ControlFile> read_control_file(FileSystem& files, const std::string& run_dir) {
  const std::string path = control_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxControlBytes));
  return parse_control_file(text, path);
}

Result<SecretKey> read_agent_key(FileSystem& files, const std::string& run_dir) {
  return read_key_file(files, agent_key_path(run_dir));
}

Status write_agent_key(const std::string& run_dir, const SecretKey& key) {
  return publish_key_file(agent_key_path(run_dir), key);
}

Result<std::string> read_supervisor_address(FileSystem& files, const std::string& run_dir) {
  LEASEHOLD_ASSIGN_OR_RETURN(std::string text,
                             read_file(files, address_path(run_dir), kMaxControlBytes));
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

Status write_supervisor_address(FileSystem& files, const std::string& run_dir,
                                const std::string& address) {
  return publish_file(files, address_path(run_dir), address + "\n", "supervisor");
}

}  // namespace leasehold
