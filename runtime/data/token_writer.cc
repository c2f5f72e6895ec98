#include "runtime/data/token_writer.h"

#include <unistd.h>

#include "runtime/data/token_file.h"

namespace leasehold {

TokenWriter::TokenWriter(FileSystem& files, std::string path, int token_bytes)
    : files_(files),
      path_(std::move(path)),
      temporary_(fmt::format("{}.{}.tmp", path_, ::getpid())),
      token_bytes_(token_bytes) {}

TokenWriter::~TokenWriter() {
  // The error that led here is the one to report.
  if (created_ && !published_) (void)files_.remove_all(temporary_).ok();
}

Status TokenWriter::start() {
  LEASEHOLD_ASSIGN_OR_RETURN(file_, files_.create(temporary_));
  created_ = true;
  const std::string header = make_token_header(0, token_bytes_);
  return file_->append(header.data(), static_cast<int64_t>(header.size()));
}

Status TokenWriter::append(std::span<const int32_t> tokens) {
  num_tokens_ += static_cast<int64_t>(tokens.size());
  if (token_bytes_ == 4) {
    return file_->append(tokens.data(), static_cast<int64_t>(tokens.size_bytes()));
  }
  narrow_.assign(tokens.begin(), tokens.end());
  return file_->append(narrow_.data(), static_cast<int64_t>(narrow_.size() * sizeof(uint16_t)));
}

Status TokenWriter::finish() {
  const std::string header = make_token_header(num_tokens_, token_bytes_);
  LEASEHOLD_RETURN_IF_ERROR(
      file_->overwrite(0, header.data(), static_cast<int64_t>(header.size())));
  LEASEHOLD_RETURN_IF_ERROR(file_->sync());
  return file_->close();
}

Status TokenWriter::publish() {
  LEASEHOLD_RETURN_IF_ERROR(files_.rename(temporary_, path_));
  published_ = true;
  return ok_status();
}

}  // namespace leasehold
