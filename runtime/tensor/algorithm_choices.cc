#include "runtime/tensor/algorithm_choices.h"

#include <sstream>

namespace leasehold {

Result<AlgorithmChoices> AlgorithmChoices::parse(const std::string& text) {
  constexpr const char* kEquals = " = ";
  const std::string heading = kAlgorithmsHeading;
  AlgorithmChoices choices;
  Products* products = nullptr;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(heading)) {
      const auto [entry, is_new] = choices.by_library_.try_emplace(line.substr(heading.size()));
      if (!is_new) return error(Code::kBadData, "a table of algorithms has '{}' twice", line);
      products = &entry->second;
      continue;
    }
    const size_t equals = line.find(kEquals);
    if (products == nullptr || equals == std::string::npos) {
      return error(Code::kBadData, "'{}' is no line of a table of algorithms", line);
    }
    const std::string algorithm = line.substr(equals + std::string(kEquals).size());
    if (!products->emplace(line.substr(0, equals), algorithm).second) {
      return error(Code::kBadData, "a table of algorithms names '{}' twice",
                   line.substr(0, equals));
    }
  }
  return choices;
}

std::string AlgorithmChoices::to_text() const {
  std::string text;
  for (const auto& [library, products] : by_library_) {
    text += kAlgorithmsHeading + library + "\n";
    for (const auto& [product, algorithm] : products)
      text.append(product).append(" = ").append(algorithm).append("\n");
  }
  return text;
}

AlgorithmChoices AlgorithmChoices::of(const std::string& library) const {
  AlgorithmChoices choices;
  const auto found = by_library_.find(library);
  if (found != by_library_.end()) choices.by_library_.insert(*found);
  return choices;
}

bool AlgorithmChoices::contain(const AlgorithmChoices& other) const {
  for (const auto& [library, products] : other.by_library_) {
    const auto mine = by_library_.find(library);
    if (mine == by_library_.end()) return false;
    for (const auto& [product, algorithm] : products) {
      const auto found = mine->second.find(product);
      if (found == mine->second.end() || found->second != algorithm) return false;
    }
  }
  return true;
}

std::vector<std::string> AlgorithmChoices::add(const AlgorithmChoices& other) {
  std::vector<std::string> differing;
  for (const auto& [library, products] : other.by_library_) {
    Products& mine = by_library_[library];
    for (const auto& [product, algorithm] : products) {
      if (mine.try_emplace(product, algorithm).first->second != algorithm)
        differing.push_back(product);
    }
  }
  return differing;
}

}  // namespace leasehold
