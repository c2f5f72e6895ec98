// Finds the address at which the hosts of a calendar reach this machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

// An address of one of this machine's interfaces.
struct InterfaceAddress {
  std::string interface;  // "eth0"
  std::string address;    // numeric
  bool is_ipv6 = false;
  bool is_running = false;   // up, with a carrier
  bool is_loopback = false;  // of the loopback interface
};

struct AddressChoice {
  std::string address, interface;
  std::vector<InterfaceAddress> others;  // addresses that could have been chosen
};

// Chooses among the addresses of running interfaces, without loopback and link-local ones. Prefers
// `route`, the address from which a host was reached; then IPv4; then IPv6; last the addresses of
// bridges for containers or virtual machines, which other machines do not see. Returns nullopt if
// there is none.
std::optional<AddressChoice> choose_address(const std::vector<InterfaceAddress>& all,
                                            const std::string& route);

// Returns the address from which this machine reaches the first of `hosts` whose name it can
// resolve, otherwise the choice of choose_address. Sends nothing to the hosts. Fails with
// kBadConfig if there is no address.
Result<AddressChoice> own_address(const std::vector<std::string>& hosts);

// Returns "nodes reach this machine at 10.0.0.5 (eth0); it also has 172.17.0.1 (docker0); ...".
std::string in_words(const AddressChoice& choice);

}  // namespace leasehold
