#include "launch/supervisor/control_server.h"

#include "launch/supervisor/control_http.h"
#include "launch/supervisor/control_port.h"
#include "launch/supervisor/control_proof.h"

namespace leasehold {

namespace {

constexpr int kClusterThreads = 16;
constexpr int kOperatorThreads = 4;
constexpr const char* kLoopback = "127.0.0.1";

HttpResponse answer_report(ControlHandler& handler, const std::string& body) {
  const Result<Report> report = parse_report(body);
  if (!report.ok()) return refusal(400, report.status().message());
  const int64_t present = handler.generation();
  if (report->generation > present) {
    return refusal(503, fmt::format("generation {} is not known here", report->generation));
  }
  if (report->generation < present) {
    const std::string message = fmt::format("generation {} is not the present one, which is {}",
                                            report->generation, present);
    return {409, fence_to_json(message, present)};
  }
  return {200, to_json(handler.on_report(*report))};
}

HttpResponse answer_drain(ControlHandler& handler, const std::string& body) {
  const Result<std::string> reason = parse_drain(body);
  if (!reason.ok()) return refusal(400, reason.status().message());
  handler.on_drain(*reason);
  return {200, to_json(Answer{true, *reason})};
}

std::vector<HttpRoute> cluster_routes(ControlHandler& handler) {
  return {{"POST", "/report",
           [&handler](const std::string& body) { return answer_report(handler, body); }}};
}

std::vector<HttpRoute> operator_routes(ControlHandler& handler) {
  return {{"GET", "/state",
           [&handler](const std::string&) {
             return HttpResponse{200, handler.state_json()};
           }},
          {"POST", "/drain",
           [&handler](const std::string& body) { return answer_drain(handler, body); }},
          {"GET", "/metrics",
           [&handler](const std::string&) {
             return HttpResponse{200, handler.prometheus_metrics(), "text/plain; version=0.0.4"};
           },
           /*for_scraper=*/true}};
}

struct Port {
  std::unique_ptr<HttpService> service;
  std::unique_ptr<ControlPort> port;  // ends before the service
};

Result<Port> open(const ControlPortOptions& options, const SecretKey& key,
                  const std::string& scraper_token, std::vector<HttpRoute> routes) {
  Port opened;
  LEASEHOLD_ASSIGN_OR_RETURN(std::string session, make_nonce());
  opened.service = HttpService::create(std::move(routes), {key, std::move(session), scraper_token},
                                       kMaxReportBytes);
  LEASEHOLD_ASSIGN_OR_RETURN(opened.port, ControlPort::open(options, *opened.service));
  return opened;
}

class TwoPorts : public ControlServer {
 public:
  TwoPorts(Port cluster, Port operators)
      : cluster_(std::move(cluster)), operators_(std::move(operators)) {}
  int cluster_port() const override { return cluster_.port->port(); }
  int operator_port() const override { return operators_.port->port(); }

 private:
  Port cluster_;
  Port operators_;
};

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::start(const ControlServerOptions& options,
                                                            ControlHandler& handler) {
  ControlPortOptions port;
  port.connection_s = options.read_timeout_s;
  port.address = {options.cluster_address, options.cluster_port};
  port.num_threads = kClusterThreads;
  LEASEHOLD_ASSIGN_OR_RETURN(Port cluster,
                             open(port, options.agent_key, "", cluster_routes(handler)));
  port.address = {kLoopback, options.operator_port};
  port.num_threads = kOperatorThreads;
  LEASEHOLD_ASSIGN_OR_RETURN(Port operators, open(port, options.operator_key, options.scraper_token,
                                                  operator_routes(handler)));
  return std::unique_ptr<ControlServer>(
      std::make_unique<TwoPorts>(std::move(cluster), std::move(operators)));
}

}  // namespace leasehold
