// A part that trains, as figures: what a hardware file says (docs/planning.md lists its keys).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "launch/plan/precision.h"
#include "runtime/base/status.h"

namespace leasehold {

// Sustained speed of causal attention, heads of 128 channels, long sequences: operations a second,
// only those below the diagonal counted. 0: not known.
struct AttentionSpeed {
  double forward = 0;
  double backward = 0;
};

struct Hardware {
  std::string name;
  std::vector<std::string> also;  // other names that tables use for it
  bool per_thread = false;        // figures are those of one thread: a CPU
  int64_t units = 1;              // multiprocessors, which share a product's tiles

  double memory_bytes = 0;
  double memory_bytes_s = 0;  // data sheet, or measured on a CPU

  PerPrecision<double> products;  // fastest measured product, operations a second; 0: none
  PerPrecision<double> peak;      // data sheet, dense; 0: not known

  AttentionSpeed attention;         // the fastest kernel there is
  AttentionSpeed attention_flash2;  // FlashAttention-2, or what has its instructions
  AttentionSpeed attention_flash1;  // FlashAttention and its Triton port

  int64_t domain = 1;          // slots that reach each other over the fast links
  double domain_bytes_s = 0;   // bus bandwidth there: nccl-tests' busbw, per slot
  double network_bytes_s = 0;  // of the network, for each slot
  double domain_hop_s = 0;     // latency of one step of a ring
  double network_hop_s = 0;
  bool measured_here = false;  // `products` and `attention` are Leasehold's own kernels
};

// Reads a hardware file. Pure (fuzzed). `path` is for messages. Fails with kBadConfig, naming path,
// line and key and what to write, for text that is not TOML, an unknown table or key (with the
// nearest one), a wrong type, a value that is not positive, and a key that is needed and missing.
Result<Hardware> parse_hardware(std::string_view text, const std::string& path);

// Lists the parts whose files belong to the program, sorted.
std::vector<std::string> shipped_hardware_names();

// Returns the shipped part that is called so, in any case; kBadConfig lists those that are known.
Result<Hardware> shipped_hardware(std::string_view name);

}  // namespace leasehold
