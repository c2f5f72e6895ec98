#include "runtime/train/model_parts.h"

#include <algorithm>
#include <map>

namespace leasehold {

namespace {

Result<ModelPart> make_part(const std::vector<ParameterSpec>& parameters,
                            const std::vector<UnitSpec>& units, int64_t begin, int64_t end) {
  ModelPart part;
  part.first_unit = begin;
  part.end_unit = end;
  std::map<std::string, std::pair<int, std::vector<int>>> used;  // first unit, slots
  for (int64_t i = begin; i < end; ++i) {
    const UnitSpec& unit = units[static_cast<size_t>(i)];
    part.unit_names.push_back(unit.name);
    for (const UseSpec& use : unit.uses) {
      auto [entry, is_new] =
          used.try_emplace(use.parameter, static_cast<int>(i - begin), std::vector<int>{});
      entry->second.second.push_back(use.slot);
    }
  }
  std::map<std::string, int> index_of;
  for (const ParameterSpec& spec : parameters) {
    const auto found = used.find(spec.name);
    if (found == used.end()) continue;
    std::sort(found->second.second.begin(), found->second.second.end());
    index_of[spec.name] = static_cast<int>(part.parameters.size());
    part.parameters.push_back(spec);
    part.unit_of.push_back(found->second.first);
    part.slots.push_back(found->second.second);
  }
  for (int64_t i = begin; i < end; ++i) {
    part.uses.emplace_back();
    for (const UseSpec& use : units[static_cast<size_t>(i)].uses) {
      const auto found = index_of.find(use.parameter);
      if (found == index_of.end()) {
        return error(Code::kInternal, "unit {} uses '{}', which the model does not have",
                     units[static_cast<size_t>(i)].name, use.parameter);
      }
      const auto& slots = part.slots[static_cast<size_t>(found->second)];
      const auto slot = std::find(slots.begin(), slots.end(), use.slot) - slots.begin();
      part.uses.back().push_back({found->second, static_cast<int>(slot)});
    }
  }
  return part;
}

}  // namespace

Result<std::vector<ModelPart>> cut_model(const std::vector<ParameterSpec>& parameters,
                                         const std::vector<UnitSpec>& units, int num_parts) {
  const auto num_units = static_cast<int64_t>(units.size());
  const int64_t inner = std::max<int64_t>(0, num_units - 2);
  if (num_parts > 1 && (inner == 0 || inner % num_parts != 0)) {
    std::string fitting;
    for (int64_t i = 1; i <= inner; ++i) {
      if (inner % i == 0) fitting += (fitting.empty() ? "" : ", ") + std::to_string(i);
    }
    return error(Code::kBadConfig,
                 "parallel.pipeline x parallel.chunks = {} does not divide the {} layers of the "
                 "model: the product may be {}",
                 num_parts, inner, fitting.empty() ? "1" : fitting);
  }
  std::vector<ModelPart> parts;
  int64_t begin = 0;
  for (int i = 0; i < num_parts; ++i) {
    const int64_t end = i + 1 == num_parts ? num_units : 1 + (int64_t{i} + 1) * inner / num_parts;
    LEASEHOLD_ASSIGN_OR_RETURN(ModelPart part, make_part(parameters, units, begin, end));
    parts.push_back(std::move(part));
    begin = end;
  }
  return parts;
}

}  // namespace leasehold
