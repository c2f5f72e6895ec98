#include "launch/plan/collective_time.h"

#include <algorithm>

namespace leasehold {

namespace {

constexpr double kStartS = 14e-6;  // NCCL's ring (src/graph/tuning.cc)

double bandwidth_bytes_s(const RankGroup& group, const Hardware& hardware,
                         const StepMethod& method) {
  const int64_t near = members_in_domain(group, hardware);
  if (group.size <= near) return hardware.domain_bytes_s;
  const double network =
      static_cast<double>(near) * hardware.network_bytes_s * method.network_share;
  return std::min(hardware.domain_bytes_s, network);
}

}  // namespace

int64_t members_in_domain(const RankGroup& group, const Hardware& hardware) {
  return std::max<int64_t>(1, std::min(group.size, hardware.domain / group.stride));
}

double ring_s(const RankGroup& group, double bytes, const Hardware& hardware,
              const StepMethod& method) {
  if (group.size <= 1) return 0;
  const int64_t near = members_in_domain(group, hardware);
  const int64_t domains = (group.size + near - 1) / near;
  const double hops_s = static_cast<double>(domains - 1) * hardware.network_hop_s +
                        static_cast<double>(group.size - domains) * hardware.domain_hop_s;
  const double share = static_cast<double>(group.size - 1) / static_cast<double>(group.size);
  return kStartS + method.hop_share * hops_s +
         bytes * share / bandwidth_bytes_s(group, hardware, method);
}

double send_s(const RankGroup& group, double bytes, const Hardware& hardware,
              const StepMethod& method) {
  if (group.size <= 1) return 0;
  const RankGroup pair{.size = 2, .stride = group.stride};
  const bool is_near = members_in_domain(pair, hardware) == 2;
  return kStartS + (is_near ? hardware.domain_hop_s : hardware.network_hop_s) +
         bytes / bandwidth_bytes_s(pair, hardware, method);
}

}  // namespace leasehold
