#include "launch/supervisor/control_channel.h"

#include <unistd.h>

#include "launch/supervisor/control_file.h"
#include "launch/supervisor/control_socket.h"

namespace leasehold {

namespace {

constexpr size_t kScraperTokenBytes = 16;

// Reads what is known of the run's agents, or makes it.
Result<SecretKey> known_agent_key(FileSystem& files, const std::string& run_dir, bool& is_new) {
  auto key = read_agent_key(files, run_dir);
  is_new = key.status().code() == Code::kMissingInput;
  return is_new ? SecretKey::make() : std::move(key);
}

// Reads what the supervisor before wrote. A file that cannot be read is replaced: no generation
// depends on it.
Result<ControlFile> known_control(FileSystem& files, const std::string& run_dir) {
  auto before = read_control_file(files, run_dir);
  if (before.ok()) return before;
  ControlFile control;
  LEASEHOLD_ASSIGN_OR_RETURN(control.operator_key, SecretKey::make());
  LEASEHOLD_ASSIGN_OR_RETURN(control.scraper_token, random_hex(kScraperTokenBytes));
  return control;
}

class OpenChannel : public ControlChannel {
 public:
  OpenChannel(FileSystem& files, std::string run_dir)
      : files_(files), run_dir_(std::move(run_dir)) {}

  Status start(const std::string& cluster_address, ControlHandler& handler) {
    LEASEHOLD_ASSIGN_OR_RETURN(ControlFile control, known_control(files_, run_dir_));
    ControlServerOptions options;
    LEASEHOLD_ASSIGN_OR_RETURN(options.agent_key, known_agent_key(files_, run_dir_, is_new_key_));
    options.operator_key = control.operator_key;
    options.scraper_token = control.scraper_token;
    options.cluster_address = cluster_address;
    options.cluster_port = control.cluster_port;
    options.operator_port = control.operator_port;
    auto server = ControlServer::start(options, handler);
    const bool had_ports = options.cluster_port != 0 || options.operator_port != 0;
    if (server.status().code() == Code::kUnavailable && had_ports) {
      options.cluster_port = options.operator_port = 0;
      server = ControlServer::start(options, handler);
    }
    if (!server.ok()) return server.status();
    server_ = std::move(server).value();
    control.pid = ::getpid();
    control.cluster_port = server_->cluster_port();
    control.operator_port = server_->operator_port();
    control_ = std::move(control);
    agent_key_ = options.agent_key;
    address_ = format_socket_address({cluster_address, control_.cluster_port});
    return ok_status();
  }

  std::string address() const override { return address_; }

  Status announce() override {
    if (is_new_key_) LEASEHOLD_RETURN_IF_ERROR(write_agent_key(run_dir_, agent_key_));
    is_new_key_ = false;
    LEASEHOLD_RETURN_IF_ERROR(write_control_file(run_dir_, control_));
    return write_supervisor_address(files_, run_dir_, address_);
  }

 private:
  FileSystem& files_;
  std::string run_dir_;
  std::string address_;
  ControlFile control_;
  SecretKey agent_key_;
  bool is_new_key_ = false;
  std::unique_ptr<ControlServer> server_;
};

}  // namespace

Result<std::unique_ptr<ControlChannel>> ControlChannel::open(FileSystem& files,
                                                             const std::string& run_dir,
                                                             const std::string& cluster_address,
                                                             ControlHandler& handler) {
  auto channel = std::make_unique<OpenChannel>(files, run_dir);
  LEASEHOLD_RETURN_IF_ERROR(channel->start(cluster_address, handler));
  return std::unique_ptr<ControlChannel>(std::move(channel));
}

Status announce_with_patience(ControlChannel& channel, Clock& clock, double limit_s,
                              const std::function<bool()>& must_stop,
                              const std::function<void(const Status&)>& on_failure) {
  constexpr double kPauseS = 1;
  const double end_s = clock.steady_s() + limit_s;
  for (bool told = false;; told = true) {
    Status announced = channel.announce();
    if (announced.code() != Code::kStorage) return announced;
    if (!told) on_failure(announced);
    if (must_stop() || clock.steady_s() >= end_s) return announced;
    clock.sleep_s(kPauseS);
  }
}

}  // namespace leasehold
