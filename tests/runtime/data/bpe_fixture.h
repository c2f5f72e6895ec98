// The vocabulary and texts of tests/fixtures/bpe, written by make_bpe_fixture.py.
#pragma once

#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/data/tokenizer.h"

namespace leasehold {

inline std::string bpe_fixture(const std::string& name) {
  return std::string(LEASEHOLD_FIXTURES "/bpe") + (name.empty() ? "" : "/" + name);
}

inline std::string bpe_fixture_text(const std::string& name) {
  std::ifstream file(bpe_fixture(name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Loads "gpt2" from vocab.json and merges.txt, or "llama3" from a tokenizer.json.
inline std::unique_ptr<Tokenizer> bpe_fixture_tokenizer(const std::string& name) {
  return load_tokenizer(posix_files(), bpe_fixture(name == "gpt2" ? "" : name)).value();
}

struct BpeVector {
  std::string name;
  std::string text;
  std::vector<int32_t> ids;
};

// Returns the texts with the ids of that tokenizer.
inline std::vector<BpeVector> bpe_fixture_vectors(const std::string& tokenizer) {
  std::vector<BpeVector> vectors;
  for (const auto& entry : nlohmann::json::parse(bpe_fixture_text("vectors.json"))) {
    BpeVector vector{entry["name"], "", entry[tokenizer]};
    const std::string hex = entry["text"];
    for (size_t i = 0; i < hex.size(); i += 2) {
      vector.text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    vectors.push_back(std::move(vector));
  }
  return vectors;
}

}  // namespace leasehold
