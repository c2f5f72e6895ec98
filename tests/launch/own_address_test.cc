#include "launch/own_address.h"

#include <gtest/gtest.h>

namespace leasehold {
namespace {

InterfaceAddress at(const std::string& interface, const std::string& address) {
  return {.interface = interface,
          .address = address,
          .is_ipv6 = address.find(':') != std::string::npos,
          .is_running = true,
          .is_loopback = interface == "lo"};
}
InterfaceAddress down(InterfaceAddress address) {
  address.is_running = false;
  return address;
}

std::string chosen(const std::vector<InterfaceAddress>& all, const std::string& route = "") {
  const auto choice = choose_address(all, route);
  return choice ? choice->address : "none";
}

TEST(OwnAddress, TakesAnInterfaceThatRuns) {
  EXPECT_EQ(chosen({at("lo", "127.0.0.1"), down(at("eth0", "10.0.0.1")), at("eth1", "10.1.0.1")}),
            "10.1.0.1");
  EXPECT_EQ(chosen({at("lo", "127.0.0.1"), down(at("eth0", "10.0.0.1"))}), "none");
  EXPECT_EQ(chosen({}), "none");
}

TEST(OwnAddress, SkipsWhatNoOtherMachineCanUse) {
  EXPECT_EQ(chosen({at("lo", "10.9.9.9"), at("eth0", "169.254.7.7"), at("eth0", "fe80::1"),
                    at("eth0", "febf::1"), at("eth0", "::1"), at("eth0", "127.0.0.2")}),
            "none");
}

TEST(OwnAddress, BridgesComeLast) {
  for (const char* bridge : {"docker0", "virbr0", "br-4f3a", "veth12", "cni0", "lxcbr0"}) {
    EXPECT_EQ(chosen({at(bridge, "172.17.0.1"), at("eth0", "10.0.0.1")}), "10.0.0.1") << bridge;
    EXPECT_EQ(chosen({at(bridge, "172.17.0.1"), at("eth0", "fd00::1")}), "fd00::1") << bridge;
    EXPECT_EQ(chosen({at(bridge, "172.17.0.1")}), "172.17.0.1") << bridge;
  }
}

TEST(OwnAddress, TakesTheWayToTheHosts) {
  const std::vector<InterfaceAddress> all = {at("eth0", "10.0.0.1"), at("ib0", "10.8.0.1"),
                                             at("docker0", "172.17.0.1"), at("eth0", "fd00::1"),
                                             down(at("eth9", "10.9.0.1"))};
  EXPECT_EQ(chosen(all), "10.0.0.1");
  for (const char* route : {"10.8.0.1", "172.17.0.1", "fd00::1"}) {
    EXPECT_EQ(chosen(all, route), route);
  }
  for (const char* no_route : {"10.9.0.1", "127.0.0.1", "8.8.8.8"}) {
    EXPECT_EQ(chosen(all, no_route), "10.0.0.1");
  }
}

TEST(OwnAddress, WorksWithIpv6Alone) {
  EXPECT_EQ(chosen({at("lo", "::1"), at("eth0", "fe80::1"), at("eth0", "2001:db8::1")}),
            "2001:db8::1");
}

TEST(OwnAddress, TellsTheChoiceAndTheOthers) {
  const auto choice = choose_address({at("docker0", "172.17.0.1"), at("eth0", "10.0.0.1")}, "");
  EXPECT_EQ(in_words(*choice),
            "nodes reach this machine at 10.0.0.1 (eth0); it also has 172.17.0.1 (docker0): "
            "--address selects another one");
  EXPECT_EQ(in_words(*choose_address({at("eth0", "10.0.0.1")}, "")),
            "nodes reach this machine at 10.0.0.1 (eth0)");
}

// A name that cannot be resolved, and this machine itself, do not change the choice.
TEST(OwnAddress, AsksTheRoutingTableAlone) {
  const auto plain = own_address({});
  const auto asked = own_address({"no-such-host.invalid", "127.0.0.1"});
  EXPECT_EQ(plain.ok(), asked.ok());
  if (plain.ok() && asked.ok()) {
    EXPECT_EQ(plain->address, asked->address);
  }
}

}  // namespace
}  // namespace leasehold
