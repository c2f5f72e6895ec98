#include "launch/leases/lease_keys.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include "launch/leases/lease_times.h"
#include "launch/nearest_name.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxSlots = 4096;
constexpr size_t kMaxHostBytes = 253;  // the longest name in DNS

Status expected(std::string_view what, const LeaseValue& got) {
  return error(Code::kBadConfig, "expected {}, got {}", what, in_words(got));
}

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxHostBytes && is_letter_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

Status read_text(const LeaseValue& value, std::string& text) {
  const auto* given = std::get_if<std::string>(&value.value);
  if (given == nullptr) return expected("a string", value);
  if (given->empty()) return error(Code::kBadConfig, "is empty; write something, or leave it out");
  for (const char c : *given) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      return error(Code::kBadConfig, "holds the control character {:#04x}; remove it",
                   static_cast<unsigned char>(c));
    }
  }
  text = *given;
  return ok_status();
}

Status read_hosts(const LeaseValue& value, std::vector<std::string>& hosts) {
  const auto* given = std::get_if<std::vector<std::string>>(&value.value);
  if (given == nullptr) return expected("a list of host names", value);
  if (given->empty()) return error(Code::kBadConfig, "is empty; name at least one host");
  std::set<std::string_view> seen;
  for (const std::string& host : *given) {
    if (!is_host_name(host)) {
      return error(Code::kBadConfig,
                   "'{}' is no host name; use letters, digits, '.', '_' and '-', beginning with a "
                   "letter or digit, at most {} of them",
                   host, kMaxHostBytes);
    }
    if (!seen.insert(host).second) {
      return error(Code::kBadConfig, "'{}' is named twice; remove one", host);
    }
  }
  hosts = *given;
  return ok_status();
}

Status read_slots(const LeaseValue& value, int64_t& slots) {
  const auto* given = std::get_if<int64_t>(&value.value);
  if (given == nullptr) return expected("an integer", value);
  if (*given < 1 || *given > kMaxSlots) {
    return error(Code::kBadConfig, "{} is out of range; it must be 1 to {}", *given, kMaxSlots);
  }
  slots = *given;
  return ok_status();
}

Status read_time(const LeaseValue& value, double first_launch_s, double& unix_s) {
  if (const auto* moment = std::get_if<LeaseValue::Moment>(&value.value)) {
    unix_s = moment->unix_s;
    return ok_status();
  }
  if (const auto* text = std::get_if<std::string>(&value.value)) {
    if (const auto parsed = parse_lease_time(*text, first_launch_s)) {
      unix_s = *parsed;
      return ok_status();
    }
  }
  return error(Code::kBadConfig,
               "{} is no time; write one with its offset from UTC, \"2026-12-01T00:00:00Z\" or "
               "\"2026-12-01T00:00:00+02:00\", or one after the first launch, \"+90s\", \"+15m\", "
               "\"+4h\" or \"+30d\"",
               in_words(value));
}

Status read_duration(const LeaseValue& value, double& duration_s) {
  if (const auto* text = std::get_if<std::string>(&value.value)) {
    if (const auto parsed = parse_duration_s(*text)) {
      duration_s = *parsed;
      return ok_status();
    }
  }
  return error(Code::kBadConfig,
               "{} is no duration; write \"90s\", \"15m\", \"4h\" or \"30d\" (whole numbers)",
               in_words(value));
}

Status read_amount(const LeaseValue& value, double& amount) {
  const auto* number = std::get_if<double>(&value.value);
  const auto* integer = std::get_if<int64_t>(&value.value);
  if (number == nullptr && integer == nullptr) return expected("a number", value);
  const double given = number != nullptr ? *number : static_cast<double>(*integer);
  if (!std::isfinite(given) || given < 0) {
    return error(Code::kBadConfig, "{} is out of range; it must be at least 0", given);
  }
  amount = given;
  return ok_status();
}

constexpr double kMaxMemoryGib = 1 << 20;

Status read_memory(const LeaseValue& value, int64_t& bytes) {
  double gib = 0;
  LEASEHOLD_RETURN_IF_ERROR(read_amount(value, gib));
  // Less than a byte would read as 0, which means unknown.
  const double given = gib * static_cast<double>(int64_t{1} << 30);
  if (given < 1 || gib > kMaxMemoryGib) {
    return error(Code::kBadConfig, "{} is out of range; it must be above 0 and at most {}, in GiB",
                 gib, kMaxMemoryGib);
  }
  bytes = static_cast<int64_t>(given);
  return ok_status();
}

template <typename Entry>
struct Key {
  std::string_view name;
  Status (*read)(const LeaseValue& value, double first_launch_s, Entry& entry);
  bool required = false;
};

#define LEASEHOLD_KEY(Entry, reader, member) \
  [](const LeaseValue& value, double, Entry& entry) { return reader(value, entry.member); }
#define LEASEHOLD_TIME(Entry, member)                                \
  [](const LeaseValue& value, double first_launch_s, Entry& entry) { \
    return read_time(value, first_launch_s, entry.member);           \
  }

const Key<Lease> kLeaseKeys[] = {
    {.name = "id", .read = LEASEHOLD_KEY(Lease, read_text, id), .required = true},
    {.name = "hosts", .read = LEASEHOLD_KEY(Lease, read_hosts, hosts), .required = true},
    {.name = "slots", .read = LEASEHOLD_KEY(Lease, read_slots, slots), .required = true},
    {.name = "provider", .read = LEASEHOLD_KEY(Lease, read_text, provider)},
    {.name = "site", .read = LEASEHOLD_KEY(Lease, read_text, site)},
    {.name = "region", .read = LEASEHOLD_KEY(Lease, read_text, region)},
    {.name = "device", .read = LEASEHOLD_KEY(Lease, read_text, device)},
    {.name = "begin", .read = LEASEHOLD_TIME(Lease, begin_s)},
    {.name = "end", .read = LEASEHOLD_TIME(Lease, end_s)},
    {.name = "notice", .read = LEASEHOLD_KEY(Lease, read_duration, notice_s)},
    {.name = "slip_p50", .read = LEASEHOLD_KEY(Lease, read_duration, slip_p50_s)},
    {.name = "slip_p90", .read = LEASEHOLD_KEY(Lease, read_duration, slip_p90_s)},
    {.name = "price_per_slot_hour", .read = LEASEHOLD_KEY(Lease, read_amount, price_per_slot_hour)},
    {.name = "memory_per_slot_gib",
     .read = LEASEHOLD_KEY(Lease, read_memory, memory_per_slot_bytes)},
};

const Key<Curtailment> kCurtailmentKeys[] = {
    {.name = "hosts", .read = LEASEHOLD_KEY(Curtailment, read_hosts, hosts), .required = true},
    {.name = "begin", .read = LEASEHOLD_TIME(Curtailment, begin_s), .required = true},
    {.name = "end", .read = LEASEHOLD_TIME(Curtailment, end_s), .required = true},
    {.name = "reason", .read = LEASEHOLD_KEY(Curtailment, read_text, reason)},
};

const Key<Contract> kContractKeys[] = {
    {.name = "provider", .read = LEASEHOLD_KEY(Contract, read_text, provider), .required = true},
    {.name = "prepaid_usd", .read = LEASEHOLD_KEY(Contract, read_amount, prepaid_usd)},
    {.name = "minimum_usd", .read = LEASEHOLD_KEY(Contract, read_amount, minimum_usd)},
};

#undef LEASEHOLD_TIME
#undef LEASEHOLD_KEY

template <typename Entry>
Status unknown_key(std::string_view table, const std::string& name,
                   std::span<const Key<Entry>> keys) {
  std::vector<std::string_view> names;
  for (const Key<Entry>& key : keys) names.push_back(key.name);
  return error(Code::kBadConfig, "there is no key '{0}.{1}'; did you mean '{0}.{2}'?", table, name,
               nearest_name(name, names));
}

template <typename Entry>
Result<Entry> make_entry(const LeaseTable& given, std::string_view table,
                         std::span<const Key<Entry>> keys, const std::string& path,
                         double first_launch_s) {
  Entry entry;
  std::set<std::string_view> seen;
  for (const LeaseTable::Entry& pair : given.entries) {
    const std::string place = fmt::format("{}:{}", path, pair.line);
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const Key<Entry>& candidate) {
      return candidate.name == pair.key;
    });
    if (key == keys.end()) return unknown_key(table, pair.key, keys).annotated(place);
    const Status status = key->read(pair.value, first_launch_s, entry);
    if (!status.ok()) return status.annotated(fmt::format("{}: {}.{}", place, table, pair.key));
    seen.insert(key->name);
  }
  for (const Key<Entry>& key : keys) {
    if (!key.required || seen.contains(key.name)) continue;
    return error(Code::kBadConfig, "{}:{}: {}.{} is required and missing; write it below [[{}]]",
                 path, given.line, table, key.name, table);
  }
  if constexpr (requires { entry.end_s; }) {
    if (!(entry.begin_s < entry.end_s)) {
      return error(Code::kBadConfig, "{}:{}: {}: the end, {}, does not lie behind the begin, {}",
                   path, given.line, table, utc_text(entry.end_s), utc_text(entry.begin_s));
    }
  }
  return entry;
}

// A tranche that may come late has a date to be late for.
Status check_slips(const Lease& lease) {
  if (lease.slip_p90_s == 0 && lease.slip_p50_s == 0) return ok_status();
  if (lease.begin_s == -kNever) {
    return error(Code::kBadConfig,
                 "lease.slip_p50 and slip_p90: '{}' has no begin that it could be late for; write "
                 "lease.begin, or leave them out",
                 lease.id);
  }
  if (lease.slip_p90_s >= lease.slip_p50_s) return ok_status();
  return error(Code::kBadConfig,
               "lease.slip_p90 of '{}', {:.0f} s, is less than slip_p50, {:.0f} s: one case of ten "
               "is at least as late as one of two; write the longer one as slip_p90",
               lease.id, lease.slip_p90_s, lease.slip_p50_s);
}

}  // namespace

Result<Lease> make_lease(const LeaseTable& table, const std::string& path, double first_launch_s) {
  LEASEHOLD_ASSIGN_OR_RETURN(Lease lease,
                             make_entry<Lease>(table, "lease", kLeaseKeys, path, first_launch_s));
  if (lease.notice_s > 0 && lease.end_s == kNever) {
    return error(Code::kBadConfig,
                 "{}:{}: lease.notice: '{}' has no end that notice could be given of; write "
                 "lease.end, or leave lease.notice out",
                 path, table.line, lease.id);
  }
  LEASEHOLD_RETURN_IF_ERROR(check_slips(lease).annotated(fmt::format("{}:{}", path, table.line)));
  return lease;
}

Result<Curtailment> make_curtailment(const LeaseTable& table, const std::string& path,
                                     double first_launch_s) {
  return make_entry<Curtailment>(table, "curtailment", kCurtailmentKeys, path, first_launch_s);
}

Result<Contract> make_contract(const LeaseTable& table, const std::string& path) {
  LEASEHOLD_ASSIGN_OR_RETURN(Contract contract,
                             make_entry<Contract>(table, "contract", kContractKeys, path, 0));
  const std::string place = fmt::format("{}:{}", path, table.line);
  if (contract.prepaid_usd == 0 && contract.minimum_usd == 0) {
    return error(Code::kBadConfig,
                 "{}: the contract with '{}' says nothing: write prepaid_usd or minimum_usd", place,
                 contract.provider);
  }
  if (contract.minimum_usd > 0 && contract.prepaid_usd > contract.minimum_usd) {
    return error(Code::kBadConfig,
                 "{}: the contract with '{}' is paid ahead with {} USD, more than the {} USD that "
                 "are owed in all: correct prepaid_usd or minimum_usd",
                 place, contract.provider, contract.prepaid_usd, contract.minimum_usd);
  }
  return contract;
}

}  // namespace leasehold
