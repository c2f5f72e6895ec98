#include "launch/leases/lease_calendar.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

constexpr double kLaunch = 1e9;

constexpr const char* kLease = R"(
[[lease]]
id = "texas"
hosts = ["texas-a", "texas-b"]
slots = 8
)";

Result<LeaseCalendar> parse(const std::string& text) {
  return parse_lease_calendar(text, "leases.toml", kLaunch);
}

// Parses a lease with these lines added.
Result<LeaseCalendar> parse_with(const std::string& lines) { return parse(kLease + lines + "\n"); }

void expect_refused(const Status& status, std::initializer_list<std::string> parts) {
  EXPECT_EQ(status.code(), Code::kBadConfig) << status.message();
  EXPECT_TRUE(status.message().starts_with("leases.toml")) << status.message();
  for (const std::string& part : parts) {
    EXPECT_NE(status.message().find(part), std::string::npos)
        << "'" << part << "' is not in: " << status.message();
  }
}

TEST(ParseLeaseCalendar, ReadsEveryKey) {
  const LeaseCalendar calendar = parse(R"(
[[lease]]
id = "texas-2026"
hosts = ["gpu-1.texas", "gpu_2"]
slots = 8
provider = "lone star"
site = "tx-1"
region = "us-south"
device = "h100"
begin = "2026-12-01T00:00:00Z"
end = 2026-12-02T02:00:00+02:00
notice = "48h"
price_per_slot_hour = 2

[[lease]]
id = "owned"
hosts = ["1"]
slots = 1
price_per_slot_hour = 0.25

[[curtailment]]
hosts = ["gpu_2", "1"]
begin = "+4h"
end = "+5h"
reason = "power is short"
)")
                                     .value();
  ASSERT_EQ(calendar.leases.size(), 2u);
  const Lease& lease = calendar.leases[0];
  EXPECT_EQ(lease.id, "texas-2026");
  EXPECT_EQ(lease.hosts, (std::vector<std::string>{"gpu-1.texas", "gpu_2"}));
  EXPECT_EQ(lease.slots, 8);
  EXPECT_EQ(lease.provider, "lone star");
  EXPECT_EQ(lease.site, "tx-1");
  EXPECT_EQ(lease.region, "us-south");
  EXPECT_EQ(lease.device, "h100");
  EXPECT_EQ(lease.begin_s, 1796083200.0);
  EXPECT_EQ(lease.end_s, 1796083200.0 + 86400);
  EXPECT_EQ(lease.notice_s, 172800.0);
  EXPECT_EQ(lease.price_per_slot_hour, 2.0);
  const Lease& owned = calendar.leases[1];
  EXPECT_EQ(owned.begin_s, -kNever);
  EXPECT_EQ(owned.end_s, kNever);
  EXPECT_EQ(owned.notice_s, 0);
  EXPECT_EQ(owned.price_per_slot_hour, 0.25);
  EXPECT_EQ(owned.provider, "");
  EXPECT_EQ(owned.memory_per_slot_bytes, 0);
  ASSERT_EQ(calendar.curtailments.size(), 1u);
  const Curtailment& curtailment = calendar.curtailments[0];
  EXPECT_EQ(curtailment.hosts, (std::vector<std::string>{"gpu_2", "1"}));
  EXPECT_EQ(curtailment.begin_s, kLaunch + 4 * 3600);
  EXPECT_EQ(curtailment.end_s, kLaunch + 5 * 3600);
  EXPECT_EQ(curtailment.reason, "power is short");
}

TEST(ParseLeaseCalendar, TranchesMayComeLate) {
  const std::string lease = "[[lease]]\nid = \"a\"\nhosts = [\"a\"]\nslots = 1\n";
  const std::string begin = "begin = \"+1d\"\n";
  const LeaseCalendar calendar =
      parse(lease + begin + "slip_p50 = \"30d\"\nslip_p90 = \"90d\"\n").value();
  EXPECT_EQ(calendar.leases[0].slip_p50_s, 30 * 86400.0);
  EXPECT_EQ(calendar.leases[0].slip_p90_s, 90 * 86400.0);
  const auto refusal = [&](const std::string& text) { return parse(text).status().message(); };
  EXPECT_NE(refusal(lease + "slip_p90 = \"90d\"\n").find("no begin"), std::string::npos);
  EXPECT_NE(refusal(lease + begin + "slip_p50 = \"2d\"\n").find("less than slip_p50"),
            std::string::npos);
  EXPECT_NE(refusal(lease + begin + "slip_p50 = 3\n").find("no duration"), std::string::npos);
}

TEST(ParseLeaseCalendar, ContractsMustFitTheLeases) {
  const std::string lease =
      "[[lease]]\nid = \"a\"\nhosts = [\"a\"]\nslots = 1\nprovider = \"iris\"\n";
  const std::string price = "price_per_slot_hour = 2\n";
  const std::string contract = "[[contract]]\nprovider = \"iris\"\n";
  const LeaseCalendar calendar =
      parse(lease + price + contract + "prepaid_usd = 20\nminimum_usd = 100\n").value();
  ASSERT_EQ(calendar.contracts.size(), 1u);
  EXPECT_EQ(calendar.contracts[0].prepaid_usd, 20);
  EXPECT_EQ(calendar.contracts[0].minimum_usd, 100);
  const auto refused = [&](const std::string& text, const std::string& part) {
    const Status status = parse(text).status();
    EXPECT_EQ(status.code(), Code::kBadConfig);
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  refused(lease + price + contract, "says nothing");
  refused(lease + price + contract + "prepaid_usd = 20\nminimum_usd = 10\n", "more than the 10");
  refused(lease + price + contract + "prepaid = 20\n", "did you mean 'contract.prepaid_usd'");
  refused(lease + contract + "prepaid_usd = 20\n", "has a price");
  refused(lease + price + "[[contract]]\nprovider = \"irs\"\nprepaid_usd = 1\n",
          "did you mean 'iris'");
  const std::string full = contract + "prepaid_usd = 20\n";
  refused(lease + price + full + full, "already");
}

TEST(ParseLeaseCalendar, KeepsTheOrderOfTheFile) {
  const LeaseCalendar calendar = parse(R"(
[[lease]]
id = "z"
hosts = ["z"]
slots = 1
[[curtailment]]
hosts = ["z"]
begin = "+1s"
end = "+2s"
[[lease]]
id = "a"
hosts = ["a"]
slots = 1
)")
                                     .value();
  EXPECT_EQ(calendar.leases[0].id, "z");
  EXPECT_EQ(calendar.leases[1].id, "a");
}

TEST(ParseLeaseCalendar, TakesInlineTables) {
  const LeaseCalendar calendar =
      parse("lease = [{id = \"a\", hosts = [\"h\"], slots = 2}]\n").value();
  EXPECT_EQ(calendar.leases[0].slots, 2);
}

TEST(ParseLeaseCalendar, ReadsTheExample) {
  const LeaseCalendar calendar =
      load_lease_calendar(posix_files(),
                          std::string(LEASEHOLD_SOURCE_DIR) + "/launch/examples/leases.toml",
                          kLaunch)
          .value();
  ASSERT_EQ(calendar.leases.size(), 3u);
  EXPECT_EQ(calendar.leases[0].end_s, kNever);
  EXPECT_EQ(calendar.leases[1].hosts, std::vector<std::string>{"texas-a"});
  EXPECT_EQ(calendar.leases[1].end_s, kLaunch + 90);
  EXPECT_EQ(calendar.leases[2].hosts, std::vector<std::string>{"texas-b"});
}

TEST(ParseLeaseCalendar, ReadsTheExampleOfThreeLeases) {
  const LeaseCalendar calendar =
      load_lease_calendar(posix_files(),
                          std::string(LEASEHOLD_SOURCE_DIR) + "/launch/examples/three_leases.toml",
                          kLaunch)
          .value();
  ASSERT_EQ(calendar.leases.size(), 3u);
  EXPECT_EQ(calendar.leases[0].end_s, kNever);
  EXPECT_EQ(calendar.leases[1].hosts, (std::vector<std::string>{"texas-a", "texas-b"}));
  EXPECT_LT(calendar.leases[2].begin_s, calendar.leases[1].end_s) << "the two leases overlap";
  ASSERT_EQ(calendar.curtailments.size(), 1u);
  EXPECT_EQ(calendar.curtailments[0].hosts, std::vector<std::string>{"texas-a"});
}

TEST(ParseLeaseCalendar, RefusesWhatIsNotToml) {
  expect_refused(parse("[[lease]\n").status(), {"leases.toml:1", "not TOML"});
  expect_refused(parse_with("slots = 9").status(), {"leases.toml:6", "not TOML"});
  expect_refused(parse("\xff\xfe").status(), {"not TOML"});
  // A text on which toml++ itself would reach code marked as unreachable.
  expect_refused(parse("\xCF\x8F").status(), {"not TOML"});
  expect_refused(parse_with("pr\xC3\xA4is = 1").status(), {"not TOML"});
  EXPECT_EQ(parse_with("site = \"K\xC3\xB6ln \xCF\x8F\"")->leases[0].site, "K\xC3\xB6ln \xCF\x8F");
}

TEST(ParseLeaseCalendar, RefusesAnEmptyCalendar) {
  for (const char* text : {"", "# nothing yet\n", "lease = []\n"}) {
    expect_refused(parse(text).status(), {"[[lease]]"});
  }
}

TEST(ParseLeaseCalendar, RefusesUnknownKeysWithTheNearest) {
  expect_refused(parse_with("notise = \"1h\"\nend = \"+4h\"").status(),
                 {"leases.toml:6", "'lease.notise'", "'lease.notice'"});
  expect_refused(parse_with("price = 3").status(), {"leases.toml:6", "did you mean 'lease."});
  expect_refused(parse_with("reason = \"x\"").status(), {"there is no key 'lease.reason'"});
  expect_refused(parse_with("[[curtailment]]\nhost = [\"texas-a\"]").status(),
                 {"leases.toml:7", "'curtailment.host'", "'curtailment.hosts'"});
  expect_refused(parse_with("[[leases]]\nid = \"x\"").status(),
                 {"leases.toml:6", "[[leases]]", "did you mean [[lease]]"});
  expect_refused(parse_with("[curtailments]").status(), {"did you mean [[curtailment]]"});
  expect_refused(parse("slots = 3\n").status(), {"leases.toml:1", "'slots'", "outside"});
}

TEST(ParseLeaseCalendar, RefusesATableThatIsNoListOfTables) {
  expect_refused(parse("[lease]\nid = \"x\"\n").status(), {"leases.toml:1", "[[lease]]"});
  expect_refused(parse("lease = 3\n").status(), {"leases.toml:1", "[[lease]]"});
  expect_refused(parse("lease = [1]\n").status(), {"leases.toml:1", "[[lease]]"});
  expect_refused(parse_with("[curtailment]\nreason = \"x\"").status(), {"[[curtailment]]"});
  expect_refused(parse_with("[lease.more]\nx = 1").status(), {"there is no key 'lease.more'"});
}

TEST(ParseLeaseCalendar, NamesMissingKeys) {
  expect_refused(parse("[[lease]]\nhosts = [\"a\"]\nslots = 1\n").status(),
                 {"leases.toml:1", "lease.id is required"});
  expect_refused(parse("\n[[lease]]\nid = \"a\"\nslots = 1\n").status(),
                 {"leases.toml:2", "lease.hosts is required"});
  expect_refused(parse("[[lease]]\nid = \"a\"\nhosts = [\"a\"]\n").status(),
                 {"lease.slots is required"});
  expect_refused(parse_with("[[curtailment]]\nhosts = [\"texas-a\"]\nbegin = \"+1h\"").status(),
                 {"leases.toml:6", "curtailment.end is required"});
}

TEST(ParseLeaseCalendar, SaysWhichTypeItExpectedAndGot) {
  const auto expect = [](const std::string& key, const std::string& value,
                         std::initializer_list<std::string> parts) {
    std::string text = kLease;
    const size_t begin = text.find("\n" + key + " = ");
    if (begin != std::string::npos) text.erase(begin, text.find('\n', begin + 1) - begin);
    const Status status = parse(text + key + " = " + value + "\n").status();
    expect_refused(status, parts);
    expect_refused(status, {"lease." + key + ": "});
  };
  expect("id", "3", {"expected a string", "the integer 3"});
  expect("id", "\"\"", {"is empty"});
  expect("id", "\"a\\nb\"", {"control character 0x0a"});
  expect("hosts", "\"texas-a\"", {"expected a list of host names", "the string \"texas-a\""});
  expect("hosts", "[1]", {"a list of other things than strings"});
  expect("hosts", "[]", {"is empty", "at least one host"});
  expect("slots", "\"8\"", {"expected an integer", "the string \"8\""});
  expect("slots", "8.0", {"expected an integer", "the number 8"});
  expect("slots", "true", {"expected an integer", "a boolean"});
  expect("slots", "0", {"1 to 4096"});
  expect("slots", "-1", {"1 to 4096"});
  expect("slots", "4097", {"1 to 4096"});
  expect("price_per_slot_hour", "-1", {"at least 0"});
  expect("price_per_slot_hour", "nan", {"at least 0"});
  expect("price_per_slot_hour", "inf", {"at least 0"});
  expect("price_per_slot_hour", "\"2\"", {"expected a number"});
  for (const char* memory : {"0", "-1", "nan", "inf", "1e-12", "1048577"}) {
    expect("memory_per_slot_gib", memory, {"out of range"});
  }
  expect("memory_per_slot_gib", "\"80GiB\"", {"expected a number", "the string"});
  expect("device", "{a = 1}", {"expected a string", "a table"});
  expect("notice", "3600", {"no duration", "\"4h\""});
  expect("notice", "\"+1h\"", {"no duration"});
}

TEST(ParseLeaseCalendar, MemoryIsInGib) {
  EXPECT_EQ(parse_with("memory_per_slot_gib = 80")->leases[0].memory_per_slot_bytes,
            int64_t{80} << 30);
  EXPECT_EQ(parse_with("memory_per_slot_gib = 0.5")->leases[0].memory_per_slot_bytes,
            int64_t{1} << 29);
}

TEST(ParseLeaseCalendar, TimesNeedAnOffset) {
  for (const char* end : {"2027-12-01T00:00:00", "2027-12-01", "10:00:00", "\"2027-12-01T00:00\"",
                          "\"2027-12-01\"", "\"4h\"", "3600", "\"soon\""}) {
    expect_refused(parse_with(std::string("end = ") + end).status(),
                   {"leases.toml:6", "lease.end", "is no time", "Z\"", "\"+4h\""});
  }
  expect_refused(parse_with("end = 2027-12-01T00:00:00").status(), {"without an offset"});
  EXPECT_EQ(parse_with("end = 2026-12-01T00:00:00.5Z")->leases[0].end_s, 1796083200.5);
  EXPECT_EQ(parse_with("end = 2026-11-30T18:30:00-05:30")->leases[0].end_s, 1796083200.0);
}

TEST(ParseLeaseCalendar, TheEndLiesBehindTheBegin) {
  expect_refused(parse_with("begin = \"+2h\"\nend = \"+1h\"").status(),
                 {"leases.toml:2", "the end", "the begin"});
  expect_refused(parse_with("begin = \"+1h\"\nend = \"+1h\"").status(), {"the end"});
  expect_refused(
      parse_with("[[curtailment]]\nhosts = [\"texas-a\"]\nbegin = \"+1h\"\nend = \"+10m\"")
          .status(),
      {"leases.toml:6", "curtailment", "the end"});
}

TEST(ParseLeaseCalendar, NoticeNeedsAnEnd) {
  expect_refused(parse_with("notice = \"1h\"").status(), {"lease.notice", "lease.end"});
}

TEST(ParseLeaseCalendar, ChecksHostNames) {
  for (const std::string host :
       {"", "-a", ".a", "_a", "a b", "a/b", "a:1", "a,b", "../a", "$(x)", "h\xC3\xB6st"}) {
    expect_refused(parse("[[lease]]\nid = \"x\"\nslots = 1\nhosts = [\"" + host + "\"]\n").status(),
                   {"leases.toml:4", "lease.hosts", "'" + host + "' is no host name"});
  }
  const std::string longest(253, 'a');
  const auto with = [](const std::string& host) {
    return parse("[[lease]]\nid = \"x\"\nslots = 1\nhosts = [\"" + host + "\"]\n");
  };
  EXPECT_TRUE(with(longest).ok());
  expect_refused(with(longest + "a").status(), {"no host name"});
  expect_refused(with("a\", \"b\", \"a").status(), {"'a' is named twice"});
}

TEST(ParseLeaseCalendar, IdsAreUnique) {
  expect_refused(parse_with("[[lease]]\nid = \"texas\"\nhosts = [\"other\"]\nslots = 1").status(),
                 {"leases.toml:6", "'texas'", "line 2"});
}

TEST(ParseLeaseCalendar, AHostIsInOneLeaseAtATime) {
  const auto with = [](const std::string& first, const std::string& second) {
    return parse(
        fmt::format("[[lease]]\nid = \"one\"\nhosts = [\"a\", \"b\"]\nslots = 1\n{}\n"
                    "[[lease]]\nid = \"two\"\nhosts = [\"c\", \"b\"]\nslots = 1\n{}\n",
                    first, second));
  };
  expect_refused(with("", "").status(), {"leases.toml:6", "'b'", "'one' (line 1) without an end",
                                         "'two' (line 6)", "at the same time"});
  expect_refused(with("end = \"+2h\"", "begin = \"+1h\"").status(), {"'b'"});
  expect_refused(with("begin = \"+1h\"", "end = \"+2h\"").status(), {"'b'"});
  expect_refused(with("begin = \"+1h\"\nend = \"+9h\"", "begin = \"+2h\"\nend = \"+3h\"").status(),
                 {"'b'", "from 2001-09-09T02:46:40Z until 2001-09-09T10:46:40Z"});
  EXPECT_TRUE(with("end = \"+1h\"", "begin = \"+1h\"").ok());
  EXPECT_TRUE(with("begin = \"+1h\"", "end = \"+1h\"").ok());
}

TEST(ParseLeaseCalendar, ACurtailmentNamesLeasedHosts) {
  expect_refused(
      parse_with(
          "[[curtailment]]\nhosts = [\"texas-a\", \"texsa-b\"]\nbegin = \"+1h\"\nend = \"+2h\"")
          .status(),
      {"leases.toml:6", "curtailment.hosts", "'texsa-b'", "did you mean 'texas-b'"});
}

TEST(LoadLeaseCalendar, NamesAMissingFileAndRefusesALargeOne) {
  TemporaryDirectory directory;
  const std::string path = directory / "leases.toml";
  const Status missing = load_lease_calendar(posix_files(), path, kLaunch).status();
  EXPECT_EQ(missing.code(), Code::kMissingInput);
  EXPECT_NE(missing.message().find(path), std::string::npos);
  std::ofstream(path) << std::string((1 << 20) + 1, '#');
  EXPECT_EQ(load_lease_calendar(posix_files(), path, kLaunch).status().code(), Code::kBadConfig);
  std::ofstream(path) << kLease;
  EXPECT_EQ(load_lease_calendar(posix_files(), path, kLaunch)->leases.size(), 1u);
}

}  // namespace
}  // namespace leasehold
