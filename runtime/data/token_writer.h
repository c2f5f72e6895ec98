// Writes a token file under a temporary name. The file is removed unless it is published.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/files.h"

namespace leasehold {

class TokenWriter {
 public:
  TokenWriter(FileSystem& files, std::string path, int token_bytes);
  TokenWriter(const TokenWriter&) = delete;
  TokenWriter& operator=(const TokenWriter&) = delete;
  ~TokenWriter();

  const std::string& path() const { return path_; }
  int64_t num_tokens() const { return num_tokens_; }

  Status start();
  Status append(std::span<const int32_t> tokens);
  // Completes the file durably, still under the temporary name.
  Status finish();
  Status publish();

 private:
  FileSystem& files_;
  std::string path_;
  std::string temporary_;
  int token_bytes_;
  std::unique_ptr<WritableFile> file_;
  std::vector<uint16_t> narrow_;
  int64_t num_tokens_ = 0;
  bool created_ = false;
  bool published_ = false;
};

}  // namespace leasehold
