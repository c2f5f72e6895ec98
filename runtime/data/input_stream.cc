#include "runtime/data/input_stream.h"

#include <algorithm>

namespace leasehold {

namespace {

constexpr int64_t kPackedBytes = 256 << 10;
constexpr int64_t kUnpackedBytes = 1 << 20;

}  // namespace

InputStream::InputStream(std::string name, std::unique_ptr<ReadableFile> file,
                         std::unique_ptr<Unpacker> unpacker)
    : name_(std::move(name)), file_(std::move(file)), unpacker_(std::move(unpacker)) {}

Result<InputStream> InputStream::open(FileSystem& files, const std::string& path,
                                      const std::string& name, std::optional<Packing> packing) {
  auto file = files.open(path);
  if (!file.ok()) return error(Code::kMissingInput, "input {}", file.status().message());
  return InputStream(name, std::move(file).value(), packing ? create_unpacker(*packing) : nullptr);
}

Result<int64_t> InputStream::read_plain(int64_t count, std::string& out) {
  const int64_t size = std::min(count, file_->size_bytes() - file_offset_);
  const size_t before = out.size();
  out.resize(before + static_cast<size_t>(size));
  LEASEHOLD_RETURN_IF_ERROR(file_->read_at(file_offset_, out.data() + before, size));
  file_offset_ += size;
  return size;
}

Status InputStream::fill() {
  const int64_t size = std::min(kPackedBytes, file_->size_bytes() - file_offset_);
  packed_.resize(static_cast<size_t>(size));
  packed_at_ = 0;
  LEASEHOLD_RETURN_IF_ERROR(file_->read_at(file_offset_, packed_.data(), size));
  file_offset_ += size;
  return ok_status();
}

Status InputStream::damaged(const Status& status) const {
  return Status(status.code(),
                fmt::format("input {}: {}, near offset {} of {}; download or make it again", name_,
                            status.message(), file_bytes(), file_->size_bytes()));
}

Result<int64_t> InputStream::read(int64_t count, std::string& out) {
  if (!unpacker_) return read_plain(count, out);
  const size_t before = out.size();
  out.resize(before + static_cast<size_t>(count));
  size_t given = 0;
  const auto wanted = static_cast<size_t>(count);
  while (given < wanted) {
    if (held() == 0) LEASEHOLD_RETURN_IF_ERROR(fill());
    const std::string_view in = std::string_view(packed_).substr(packed_at_);
    const auto progress = unpacker_->unpack(in, out.data() + before + given, wanted - given);
    if (!progress.ok()) return damaged(progress.status());
    packed_at_ += progress->taken;
    given += progress->given;
    if (progress->taken > 0 || progress->given > 0) continue;
    if (in.empty() && unpacker_->at_end()) break;
    return damaged(Status(Code::kBadData, in.empty() ? "cut off" : "damaged"));
  }
  out.resize(before + given);
  return static_cast<int64_t>(given);
}

Result<std::string> read_head(FileSystem& files, const std::string& path, const std::string& name,
                              std::optional<Packing> packing, int64_t count) {
  LEASEHOLD_ASSIGN_OR_RETURN(InputStream stream, InputStream::open(files, path, name, packing));
  std::string head;
  LEASEHOLD_RETURN_IF_ERROR(stream.read(count, head).status());
  return head;
}

Result<int64_t> measure_unpacked(FileSystem& files, const std::string& path,
                                 const std::string& name, Packing packing,
                                 const std::function<Status(int64_t)>& advance) {
  LEASEHOLD_ASSIGN_OR_RETURN(InputStream stream, InputStream::open(files, path, name, packing));
  std::string block;
  int64_t size = 0, done = 0;
  while (true) {
    block.clear();
    LEASEHOLD_ASSIGN_OR_RETURN(const int64_t got, stream.read(kUnpackedBytes, block));
    size += got;
    LEASEHOLD_RETURN_IF_ERROR(advance(stream.file_bytes() - done));
    done = stream.file_bytes();
    if (got < kUnpackedBytes) return size;
  }
}

}  // namespace leasehold
