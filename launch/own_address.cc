#include "launch/own_address.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace leasehold {

namespace {

// Limited, since a resolver that does not answer takes seconds for each host.
constexpr size_t kHostsToAsk = 3;
constexpr std::array<std::string_view, 11> kBridges = {
    "docker", "br-", "virbr", "veth", "cni", "flannel", "cali", "lxcbr", "lxdbr", "podman", "vnet"};

bool is_bridge(std::string_view interface) {
  return std::ranges::any_of(kBridges,
                             [&](std::string_view name) { return interface.starts_with(name); });
}

// Returns true for addresses that no other machine can use, whatever the interface.
bool is_local_only(const InterfaceAddress& at) {
  if (at.is_loopback) return true;
  if (!at.is_ipv6) return at.address.starts_with("127.") || at.address.starts_with("169.254.");
  return at.address == "::1" || at.address.starts_with("fe8") || at.address.starts_with("fe9") ||
         at.address.starts_with("fea") || at.address.starts_with("feb");
}

// Returns the numeric form without a zone; "" for families other than IPv4 and IPv6.
std::string text_of(const sockaddr* address) {
  const bool is_ipv6 = address != nullptr && address->sa_family == AF_INET6;
  if (address == nullptr || (address->sa_family != AF_INET && !is_ipv6)) return "";
  std::array<char, NI_MAXHOST> text;
  const socklen_t size = is_ipv6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) {
    return "";
  }
  const std::string_view view = text.data();
  return std::string(view.substr(0, view.find('%')));
}

std::vector<InterfaceAddress> all_addresses() {
  std::vector<InterfaceAddress> all;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return all;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    std::string address = text_of(entry->ifa_addr);
    if (address.empty()) continue;
    constexpr unsigned kRunning = IFF_UP | IFF_RUNNING;
    all.push_back({.interface = entry->ifa_name,
                   .address = std::move(address),
                   .is_ipv6 = entry->ifa_addr->sa_family == AF_INET6,
                   .is_running = (entry->ifa_flags & kRunning) == kRunning,
                   .is_loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0});
  }
  ::freeifaddrs(list);
  return all;
}

// Returns this machine's address on the route to `host`; "" without a route or for an unknown name.
// Connecting a datagram socket consults the routing table and sends nothing.
std::string address_towards(const std::string& host) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return "";
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, ::freeaddrinfo);
  std::string own;
  for (const addrinfo* entry = found; entry != nullptr && own.empty(); entry = entry->ai_next) {
    const int fd = ::socket(entry->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) continue;
    sockaddr_storage name = {};
    socklen_t size = sizeof name;
    auto* at = reinterpret_cast<sockaddr*>(&name);
    const bool known =
        ::connect(fd, entry->ai_addr, entry->ai_addrlen) == 0 && ::getsockname(fd, at, &size) == 0;
    if (known) own = text_of(at);
    ::close(fd);
  }
  return own;
}

int badness(const InterfaceAddress& at, const std::string& route) {
  if (at.address == route) return 0;
  return 1 + (at.is_ipv6 ? 1 : 0) + (is_bridge(at.interface) ? 2 : 0);
}

}  // namespace

std::optional<AddressChoice> choose_address(const std::vector<InterfaceAddress>& all,
                                            const std::string& route) {
  std::vector<InterfaceAddress> usable;
  for (const InterfaceAddress& at : all) {
    if (at.is_running && !is_local_only(at)) usable.push_back(at);
  }
  if (usable.empty()) return std::nullopt;
  std::ranges::stable_sort(usable, {},
                           [&](const InterfaceAddress& at) { return badness(at, route); });
  AddressChoice choice{usable.front().address, usable.front().interface, {}};
  choice.others.assign(usable.begin() + 1, usable.end());
  return choice;
}

Result<AddressChoice> own_address(const std::vector<std::string>& hosts) {
  const std::vector<InterfaceAddress> all = all_addresses();
  std::string route;
  for (size_t i = 0; i < std::min(hosts.size(), kHostsToAsk); ++i) {
    const std::string own = address_towards(hosts[i]);
    const auto at = std::ranges::find(all, own, &InterfaceAddress::address);
    // A host that is this machine itself tells nothing about the others.
    if (at == all.end() || is_local_only(*at)) continue;
    route = own;
    break;
  }
  if (auto choice = choose_address(all, route)) return *std::move(choice);
  return error(Code::kBadConfig,
               "this machine has no address that nodes could reach (interfaces that are down, "
               "loopback and link-local addresses do not count): give one with --address");
}

std::string in_words(const AddressChoice& choice) {
  std::vector<std::string> others;
  for (const InterfaceAddress& at : choice.others) {
    others.push_back(fmt::format("{} ({})", at.address, at.interface));
  }
  std::string text =
      fmt::format("nodes reach this machine at {} ({})", choice.address, choice.interface);
  if (others.empty()) return text;
  return fmt::format("{}; it also has {}: --address selects another one", text,
                     fmt::join(others, ", "));
}

}  // namespace leasehold
