#include "launch/supervisor/control_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "runtime/base/json_reader.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxBytes = 64 << 10;
constexpr size_t kMaxTokenBytes = 256;

std::string control_path(const std::string& run_dir) {
  return join_path(join_path(run_dir, "supervisor"), "control.json");
}

Status failed(const std::string& path) {
  return error(Code::kStorage, "{}: {}", path, std::strerror(errno));
}

// Nobody else can read it at any moment.
Status write_private(const std::string& path, std::string_view content) {
  ::unlink(path.c_str());
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return failed(path);
  const ssize_t written = ::write(fd, content.data(), content.size());
  Status status;
  if (written != static_cast<ssize_t>(content.size()) || ::fsync(fd) != 0) status = failed(path);
  if (::close(fd) != 0 && status.ok()) status = failed(path);
  return status;
}

}  // namespace

std::string encode_control_file(const ControlFile& control) {
  const nlohmann::ordered_json object = {{"pid", control.pid},
                                         {"operator_port", control.operator_port},
                                         {"cluster_port", control.cluster_port},
                                         {"token", control.token}};
  return object.dump() + "\n";
}

Result<ControlFile> parse_control_file(std::string_view text, const std::string& file) {
  const auto json = parse_strict_json(text, file, 1);
  // Its message would quote what was read last, which may be the token.
  if (!json.ok()) return error(Code::kBadData, "{}: not one JSON object", file);
  const JsonCursor root(*json, file);
  LEASEHOLD_RETURN_IF_ERROR(root.expect_fields({"pid", "operator_port", "cluster_port", "token"}));
  ControlFile control;
  LEASEHOLD_ASSIGN_OR_RETURN(control.pid, root.field("pid").integer(1, INT32_MAX));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t operator_port,
                             root.field("operator_port").integer(1, 65535));
  LEASEHOLD_ASSIGN_OR_RETURN(const int64_t cluster_port,
                             root.field("cluster_port").integer(1, 65535));
  control.operator_port = static_cast<int>(operator_port);
  control.cluster_port = static_cast<int>(cluster_port);
  LEASEHOLD_ASSIGN_OR_RETURN(control.token, root.field("token").string());
  if (control.token.empty() || control.token.size() > kMaxTokenBytes) {
    return root.field("token").bad("it is no token");
  }
  return control;
}

Status write_control_file(const std::string& run_dir, const ControlFile& control) {
  const std::string path = control_path(run_dir);
  const std::string temporary = path + ".supervisor.tmp";
  LEASEHOLD_RETURN_IF_ERROR(write_private(temporary, encode_control_file(control)));
  if (std::rename(temporary.c_str(), path.c_str()) != 0) return failed(path);
  return ok_status();
}

Result<ControlFile> read_control_file(FileSystem& files, const std::string& run_dir) {
  const std::string path = control_path(run_dir);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxBytes));
  return parse_control_file(text, path);
}

}  // namespace leasehold
