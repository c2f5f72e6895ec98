#include "launch/leases/lease_calendar.h"

#include <algorithm>
#include <map>

#include "launch/leases/lease_keys.h"
#include "launch/leases/lease_times.h"
#include "launch/leases/lease_toml.h"
#include "launch/nearest_name.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxCalendarBytes = int64_t{16} << 20;

// A lease and the line where it begins.
struct Placed {
  const Lease* lease;
  int64_t line;
};

Status check_ids(const std::vector<Placed>& leases, const std::string& path) {
  std::map<std::string_view, int64_t> lines;
  for (const auto& [lease, line] : leases) {
    const auto [first, is_new] = lines.emplace(lease->id, line);
    if (is_new) continue;
    return error(Code::kBadConfig,
                 "{}:{}: lease.id: there is a lease '{}' already, in line {}; give this one "
                 "another id",
                 path, line, lease->id, first->second);
  }
  return ok_status();
}

std::string span_in_words(const Lease& lease) {
  const std::string begin =
      lease.begin_s == -kNever ? "" : fmt::format("from {} ", utc_text(lease.begin_s));
  const std::string end =
      lease.end_s == kNever ? "without an end" : fmt::format("until {}", utc_text(lease.end_s));
  return begin + end;
}

// Checks that no host is in two leases at a time.
Status check_overlaps(const std::vector<Placed>& leases, const std::string& path) {
  std::map<std::string_view, std::vector<Placed>> by_host;
  for (const Placed& placed : leases) {
    for (const std::string& host : placed.lease->hosts) by_host[host].push_back(placed);
  }
  for (auto& [host, placed] : by_host) {
    std::stable_sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
      return a.lease->begin_s < b.lease->begin_s;
    });
    for (size_t i = 1; i < placed.size(); ++i) {
      const auto& [before, before_line] = placed[i - 1];
      const auto& [after, after_line] = placed[i];
      if (before->end_s <= after->begin_s) continue;
      return error(Code::kBadConfig,
                   "{}:{}: lease.hosts: '{}' is in two leases at the same time: '{}' (line {}) {}, "
                   "and '{}' (line {}) {}; end one before the other begins",
                   path, std::max(before_line, after_line), host, before->id, before_line,
                   span_in_words(*before), after->id, after_line, span_in_words(*after));
    }
  }
  return ok_status();
}

// Checks that curtailments name leased hosts. Otherwise they would do nothing: the name is
// misspelled.
Status check_curtailed(const LeaseCalendar& calendar, const std::vector<int64_t>& lines,
                       const std::string& path) {
  std::vector<std::string_view> leased;
  for (const Lease& lease : calendar.leases) {
    leased.insert(leased.end(), lease.hosts.begin(), lease.hosts.end());
  }
  std::sort(leased.begin(), leased.end());
  for (size_t i = 0; i < calendar.curtailments.size(); ++i) {
    for (const std::string& host : calendar.curtailments[i].hosts) {
      if (std::binary_search(leased.begin(), leased.end(), host)) continue;
      return error(Code::kBadConfig,
                   "{}:{}: curtailment.hosts: no lease has a host '{}'; did you mean '{}'?", path,
                   lines[i], host, nearest_name(host, leased));
    }
  }
  return ok_status();
}

// A contract is with a provider of leases that have a price, and there is one with each.
Status check_contract(const LeaseCalendar& calendar, const Contract& contract,
                      const std::string& place) {
  std::vector<std::string_view> providers;
  bool has_price = false;
  for (const Lease& lease : calendar.leases) {
    if (!lease.provider.empty()) providers.push_back(lease.provider);
    if (lease.provider == contract.provider && lease.price_per_slot_hour > 0) has_price = true;
  }
  if (std::find(providers.begin(), providers.end(), contract.provider) == providers.end()) {
    return error(
        Code::kBadConfig, "{}: contract.provider: no lease is of '{}'{}", place, contract.provider,
        providers.empty()
            ? std::string("; write lease.provider")
            : fmt::format("; did you mean '{}'?", nearest_name(contract.provider, providers)));
  }
  if (!has_price) {
    return error(Code::kBadConfig,
                 "{}: no lease of '{}' has a price that its contract could be drawn down by; write "
                 "lease.price_per_slot_hour (USD)",
                 place, contract.provider);
  }
  const auto same = [&](const Contract& other) { return other.provider == contract.provider; };
  if (std::count_if(calendar.contracts.begin(), calendar.contracts.end(), same) == 0) {
    return ok_status();
  }
  return error(Code::kBadConfig, "{}: there is a contract with '{}' already; join the two", place,
               contract.provider);
}

}  // namespace

Result<LeaseCalendar> parse_lease_calendar(std::string_view text, const std::string& path,
                                           double first_launch_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(const LeaseTables tables, read_lease_toml(text, path));
  // An editor may leave an empty file for a moment while it writes. That must not end all leases.
  if (tables.leases.empty()) {
    return error(Code::kBadConfig,
                 "{}: there is no [[lease]]; write at least one, with id, hosts and slots", path);
  }
  LeaseCalendar calendar;
  for (const LeaseTable& table : tables.leases) {
    LEASEHOLD_ASSIGN_OR_RETURN(Lease lease, make_lease(table, path, first_launch_s));
    calendar.leases.push_back(std::move(lease));
  }
  std::vector<int64_t> lines;
  for (const LeaseTable& table : tables.curtailments) {
    LEASEHOLD_ASSIGN_OR_RETURN(Curtailment curtailment,
                               make_curtailment(table, path, first_launch_s));
    calendar.curtailments.push_back(std::move(curtailment));
    lines.push_back(table.line);
  }
  for (const LeaseTable& table : tables.contracts) {
    LEASEHOLD_ASSIGN_OR_RETURN(Contract contract, make_contract(table, path));
    LEASEHOLD_RETURN_IF_ERROR(
        check_contract(calendar, contract, fmt::format("{}:{}", path, table.line)));
    calendar.contracts.push_back(std::move(contract));
  }
  std::vector<Placed> placed;
  for (size_t i = 0; i < calendar.leases.size(); ++i) {
    placed.push_back({&calendar.leases[i], tables.leases[i].line});
  }
  LEASEHOLD_RETURN_IF_ERROR(check_ids(placed, path));
  LEASEHOLD_RETURN_IF_ERROR(check_overlaps(placed, path));
  LEASEHOLD_RETURN_IF_ERROR(check_curtailed(calendar, lines, path));
  return calendar;
}

Result<std::string> read_lease_calendar(FileSystem& files, const std::string& path) {
  auto text = read_file(files, path, kMaxCalendarBytes);
  if (text.ok()) return text;
  const Code code = text.status().code();
  return Status(code == Code::kBadData ? Code::kBadConfig : code,
                "lease calendar: " + text.status().message());
}

Result<LeaseCalendar> load_lease_calendar(FileSystem& files, const std::string& path,
                                          double first_launch_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_lease_calendar(files, path));
  return parse_lease_calendar(text, path, first_launch_s);
}

}  // namespace leasehold
