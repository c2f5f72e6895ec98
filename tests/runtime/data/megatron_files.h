// Makes datasets in the form that Megatron-LM writes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace leasehold {

template <typename Number>
void put_number(std::string& bytes, Number number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

struct MegatronFiles {
  std::string idx;
  std::string bin;
};

// Makes a dataset. `sequences` has the tokens of each sequence, `documents` the first sequence of
// each document.
template <typename Token>
MegatronFiles megatron_files(uint8_t dtype, const std::vector<std::vector<Token>>& sequences,
                             const std::vector<int64_t>& documents) {
  MegatronFiles files;
  files.idx = std::string("MMIDIDX\0\0", 9);
  put_number<uint64_t>(files.idx, 1);
  put_number<uint8_t>(files.idx, dtype);
  put_number<uint64_t>(files.idx, sequences.size());
  put_number<uint64_t>(files.idx, documents.size() + 1);
  for (const auto& sequence : sequences)
    put_number<int32_t>(files.idx, static_cast<int32_t>(sequence.size()));
  for (const auto& sequence : sequences) {
    put_number<int64_t>(files.idx, static_cast<int64_t>(files.bin.size()));
    for (const Token token : sequence) put_number(files.bin, token);
  }
  for (const int64_t document : documents) put_number(files.idx, document);
  put_number(files.idx, static_cast<int64_t>(sequences.size()));
  return files;
}

}  // namespace leasehold
