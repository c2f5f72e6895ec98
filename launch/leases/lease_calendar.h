// The capacity that is leased, and when: a TOML file of [[lease]], [[curtailment]] and
// [[contract]] entries, checked as strictly as the job file. docs/lease_calendar.md has the table
// of keys.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/files.h"
#include "runtime/base/status.h"

namespace leasehold {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

// A lease of hosts. All times are seconds since 1970-01-01 UTC on the head's clock.
struct Lease {
  std::string id;
  std::vector<std::string> hosts;  // [A-Za-z0-9][A-Za-z0-9._-]*
  int64_t slots = 1;               // ranks per host
  std::string provider, site, region, device;
  double begin_s = -kNever;
  double end_s = kNever;  // kNever: the hosts are owned
  // The span before `end_s` in which the provider may ask the hosts back.
  double notice_s = 0;
  // Delays after `begin_s` that half of the tranches and nine of ten do not exceed. For plans.
  double slip_p50_s = 0;
  double slip_p90_s = 0;
  double price_per_slot_hour = 0;
  int64_t memory_per_slot_bytes = 0;  // of the device that a rank computes on; 0: unknown
};

// A pause of some hosts: power is short, maintenance, ...
struct Curtailment {
  std::vector<std::string> hosts;
  double begin_s = 0;
  double end_s = 0;
  std::string reason;
};

// An agreement with a provider about all of its leases together. For plans.
struct Contract {
  std::string provider;
  double prepaid_usd = 0;  // paid ahead
  double minimum_usd = 0;  // owed in all, used or not; 0: nothing beyond what is leased
};

struct LeaseCalendar {
  std::vector<Lease> leases;
  std::vector<Curtailment> curtailments;
  std::vector<Contract> contracts;
};

// Parses a calendar. Pure (fuzzed). Times are absolute with an offset ("2026-12-01T00:00:00Z", or a
// TOML offset date-time), or relative ("+90s", "+15m", "+4h", "+30d") to `first_launch_s`, the time
// of the job's first launch. kBadConfig, naming file, line, key and what to write instead, for text
// that is not TOML, an unknown key (with the nearest known one), a wrong type, a missing key, a
// time without offset, an end before its begin, a bad host name, two leases with one id, one host
// in two leases at the same time, or a contract that contradicts itself or the leases.
Result<LeaseCalendar> parse_lease_calendar(std::string_view text, const std::string& path,
                                           double first_launch_s);
// Reads the text of a calendar. kBadConfig if it is too long; kMissingInput if it does not exist.
Result<std::string> read_lease_calendar(FileSystem& files, const std::string& path);
// Reads and parses a calendar.
Result<LeaseCalendar> load_lease_calendar(FileSystem& files, const std::string& path,
                                          double first_launch_s);

}  // namespace leasehold
