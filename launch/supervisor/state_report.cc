#include "launch/supervisor/state_report.h"

#include <nlohmann/json.hpp>

#include "runtime/base/clock.h"

namespace leasehold {

namespace {

using nlohmann::ordered_json;

void add_metric(std::string& text, const char* name, const char* type, const char* help,
                double value) {
  text += fmt::format("# HELP leasehold_{0} {2}\n# TYPE leasehold_{0} {1}\nleasehold_{0} {3}\n",
                      name, type, help, value);
}

void add_by_node(std::string& text, const char* name, const char* help,
                 const std::map<std::string, NodeNews>& nodes, double Report::*value) {
  text += fmt::format("# HELP leasehold_{0} {1}\n# TYPE leasehold_{0} gauge\n", name, help);
  for (const auto& [node, news] : nodes) {
    text +=
        fmt::format("leasehold_{}{{node=\"{}\"}} {}\n", name, news.report.node, news.report.*value);
  }
}

int64_t count_hosts(const SupervisorState& state, HostHealth::State health) {
  int64_t count = 0;
  for (const auto& [host, record] : state.hosts) count += record.health.state == health;
  return count;
}

std::string row(const std::string& number, const std::string& ranks, const std::string& began,
                const std::string& step, const std::string& lost, const std::string& why) {
  return fmt::format("{:>10}  {:>5}  {:<24}  {:>8}  {:>7}  {}\n", number, ranks, began, step, lost,
                     why);
}

}  // namespace

std::string state_json(const StateReport& report) {
  ordered_json nodes = ordered_json::array();
  for (const auto& [name, news] : report.nodes) {
    ordered_json node =
        ordered_json::parse(to_json(news.report), nullptr, /*allow_exceptions=*/false);
    node["heard_s"] = news.heard_s;
    nodes.push_back(std::move(node));
  }
  const ordered_json object = {
      {"now_s", report.now_s},
      {"doing", report.doing},
      {"nodes", std::move(nodes)},
      {"state", ordered_json::parse(encode_state(report.state), nullptr, false)}};
  return object.dump(1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

std::string prometheus_text(const StateReport& report) {
  const SupervisorState& state = report.state;
  double lost_s = 0;
  int64_t planned = 0;
  for (const PastGeneration& past : state.timeline) {
    lost_s += past.lost_s.value_or(0);
    planned += past.planned;
  }
  std::string text;
  const bool runs = state.running.has_value();
  add_metric(text, "generation", "gauge", "The newest generation.",
             static_cast<double>(state.newest_generation));
  add_metric(text, "world", "gauge", "Ranks that run.",
             runs ? static_cast<double>(state.running->world()) : 0);
  add_metric(text, "step", "counter", "Steps done.", static_cast<double>(state.newest_step));
  add_metric(text, "step_seconds", "gauge", "Measured time of a step.",
             state.times.step_s.value_or(0));
  add_metric(text, "start_seconds", "gauge", "Measured time from mpirun to the first new step.",
             state.times.start_s.value_or(0));
  add_metric(text, "save_seconds", "gauge", "Measured time of a durable save.",
             state.times.save_s.value_or(0));
  add_metric(text, "generations_planned_total", "counter", "Generations that ended as planned.",
             static_cast<double>(planned));
  add_metric(text, "generations_failed_total", "counter", "Generations that failed.",
             static_cast<double>(std::ssize(state.timeline) - planned));
  add_metric(text, "lost_seconds_total", "counter",
             "Time between the ends of generations and the next new steps.", lost_s);
  add_metric(text, "hosts_unreachable", "gauge", "Hosts that do not answer.",
             static_cast<double>(count_hosts(state, HostHealth::State::kUnreachable)));
  add_metric(text, "hosts_quarantined", "gauge", "Hosts that crashed too often.",
             static_cast<double>(count_hosts(state, HostHealth::State::kQuarantined)));
  add_metric(text, "nodes_reporting", "gauge", "Nodes whose agents were heard.",
             static_cast<double>(report.nodes.size()));
  add_by_node(text, "communication_seconds",
              "Communication over the data axis in the newest step, of the node's first rank.",
              report.nodes, &Report::communication_s);
  add_by_node(text, "communication_exposed_seconds", "How much of it computation stood still for.",
              report.nodes, &Report::exposed_s);
  return text;
}

std::string communication_text(const std::string& state_json) {
  const auto state = ordered_json::parse(state_json, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains("nodes")) return "";
  std::string text;
  for (const auto& node : state["nodes"]) {
    const double seconds = node.value("communication_s", 0.0);
    if (!(seconds > 0)) continue;
    text += fmt::format(
        "communication of a step on {}: {:.1f} ms, {:.1f} ms of it not hidden behind computation\n",
        node.value("node", ""), 1e3 * seconds, 1e3 * node.value("exposed_s", 0.0));
  }
  return text;
}

std::string timeline_text(const SupervisorState& state) {
  std::string text = row("generation", "ranks", "began", "to step", "lost s", "why it began");
  for (const PastGeneration& past : state.timeline) {
    text += row(std::to_string(past.number), std::to_string(past.world), format_utc(past.started_s),
                std::to_string(past.last_step),
                past.lost_s ? fmt::format("{:.1f}", *past.lost_s) : "-", past.began);
    text += fmt::format("{:>10}  ended: {}\n", "", past.ended);
  }
  if (state.running) {
    text += row(std::to_string(state.running->number), std::to_string(state.running->world()),
                format_utc(state.running->started_s), std::to_string(state.newest_step), "-",
                state.running->reason);
  }
  return text;
}

}  // namespace leasehold
