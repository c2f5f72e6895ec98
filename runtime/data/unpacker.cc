#include "runtime/data/unpacker.h"

#include <algorithm>
#include <array>
#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

namespace leasehold {

namespace {

struct KnownPacking {
  Packing packing;
  std::string_view name;
  std::string_view magic;
  std::string_view suffix;
};

constexpr std::array kPackings = {
    KnownPacking{Packing::kGzip, "gzip", {"\x1F\x8B", 2}, ".gz"},
    KnownPacking{Packing::kZstd, "Zstandard", {"\x28\xB5\x2F\xFD", 4}, ".zst"},
    KnownPacking{Packing::kBzip2, "bzip2", {"BZh", 3}, ".bz2"},
    KnownPacking{Packing::kXz,
                 "xz",
                 {"\xFD"
                  "7zXZ\0",
                  6},
                 ".xz"},
};

// The most memory that a file may ask its decoder for.
constexpr int kMaxZstdWindowLog = 31;
constexpr uint64_t kMaxXzMemory = uint64_t{2} << 30;

Status damaged(std::string_view reason) { return error(Code::kBadData, "damaged: {}", reason); }

// The part that the decoders share: after a stream follows another stream, zeros or nothing.
class StreamUnpacker : public Unpacker {
 public:
  Result<Progress> unpack(std::string_view in, char* out, size_t out_bytes) final {
    if (between_ && in.empty()) return Progress{};
    if (between_ && ended_once_) {
      const size_t zeros = std::min(in.find_first_not_of('\0'), in.size());
      if (zeros > 0) return Progress{zeros, 0};
    }
    if (between_) {
      LEASEHOLD_RETURN_IF_ERROR(begin());
      between_ = false;
    }
    bool ended = false;
    auto progress = step(in, out, out_bytes, ended);
    if (progress.ok() && ended) between_ = ended_once_ = true;
    return progress;
  }
  bool at_end() const final { return between_; }

 protected:
  // Prepares for a new stream.
  virtual Status begin() = 0;
  virtual Result<Progress> step(std::string_view in, char* out, size_t out_bytes, bool& ended) = 0;

 private:
  bool between_ = true;  // before a stream's first byte
  bool ended_once_ = false;
};

class GzipUnpacker : public StreamUnpacker {
 public:
  ~GzipUnpacker() override {
    if (made_) inflateEnd(&state_);
  }

 protected:
  Status begin() override {
    constexpr int kGzipOnly = 16;
    const int code = made_ ? inflateReset(&state_) : inflateInit2(&state_, MAX_WBITS + kGzipOnly);
    if (code != Z_OK) return error(Code::kInternal, "zlib does not start ({})", code);
    made_ = true;
    return ok_status();
  }
  Result<Progress> step(std::string_view in, char* out, size_t out_bytes, bool& ended) override {
    constexpr size_t kMost = size_t{1} << 30;
    const auto in_bytes = static_cast<uInt>(std::min(in.size(), kMost));
    const auto room = static_cast<uInt>(std::min(out_bytes, kMost));
    state_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    state_.avail_in = in_bytes;
    state_.next_out = reinterpret_cast<Bytef*>(out);
    state_.avail_out = room;
    const int code = inflate(&state_, Z_NO_FLUSH);
    ended = code == Z_STREAM_END;
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
      return damaged(state_.msg != nullptr ? state_.msg : "no gzip stream");
    return Progress{in_bytes - state_.avail_in, room - state_.avail_out};
  }

 private:
  z_stream state_{};
  bool made_ = false;
};

class Bzip2Unpacker : public StreamUnpacker {
 public:
  ~Bzip2Unpacker() override { end(); }

 protected:
  Status begin() override {
    end();
    state_ = {};
    const int code = BZ2_bzDecompressInit(&state_, 0, 0);
    if (code != BZ_OK) return error(Code::kInternal, "libbz2 does not start ({})", code);
    made_ = true;
    return ok_status();
  }
  Result<Progress> step(std::string_view in, char* out, size_t out_bytes, bool& ended) override {
    constexpr size_t kMost = size_t{1} << 30;
    const auto in_bytes = static_cast<unsigned>(std::min(in.size(), kMost));
    const auto room = static_cast<unsigned>(std::min(out_bytes, kMost));
    state_.next_in = const_cast<char*>(in.data());
    state_.avail_in = in_bytes;
    state_.next_out = out;
    state_.avail_out = room;
    const int code = BZ2_bzDecompress(&state_);
    ended = code == BZ_STREAM_END;
    if (code != BZ_OK && code != BZ_STREAM_END)
      return damaged(code == BZ_DATA_ERROR ? "a checksum differs" : "no bzip2 stream");
    return Progress{in_bytes - state_.avail_in, room - state_.avail_out};
  }

 private:
  void end() {
    if (made_) BZ2_bzDecompressEnd(&state_);
    made_ = false;
  }
  bz_stream state_{};
  bool made_ = false;
};

class XzUnpacker : public StreamUnpacker {
 public:
  ~XzUnpacker() override { lzma_end(&state_); }

 protected:
  Status begin() override {
    const lzma_ret code = lzma_stream_decoder(&state_, kMaxXzMemory, 0);
    if (code != LZMA_OK) return error(Code::kInternal, "liblzma does not start ({})", int{code});
    return ok_status();
  }
  Result<Progress> step(std::string_view in, char* out, size_t out_bytes, bool& ended) override {
    state_.next_in = reinterpret_cast<const uint8_t*>(in.data());
    state_.avail_in = in.size();
    state_.next_out = reinterpret_cast<uint8_t*>(out);
    state_.avail_out = out_bytes;
    const lzma_ret code = lzma_code(&state_, LZMA_RUN);
    ended = code == LZMA_STREAM_END;
    if (code == LZMA_MEMLIMIT_ERROR)
      return error(Code::kBadData, "unpacking takes more than {} bytes of memory", kMaxXzMemory);
    if (code != LZMA_OK && code != LZMA_STREAM_END && code != LZMA_BUF_ERROR)
      return damaged(code == LZMA_DATA_ERROR ? "a checksum or code is wrong" : "no xz stream");
    return Progress{in.size() - state_.avail_in, out_bytes - state_.avail_out};
  }

 private:
  lzma_stream state_ = LZMA_STREAM_INIT;
};

class ZstdUnpacker : public StreamUnpacker {
 public:
  ZstdUnpacker() : state_(ZSTD_createDStream()) {}
  ~ZstdUnpacker() override { ZSTD_freeDStream(state_); }
  ZstdUnpacker(const ZstdUnpacker&) = delete;
  ZstdUnpacker& operator=(const ZstdUnpacker&) = delete;

 protected:
  Status begin() override {
    if (state_ == nullptr || ZSTD_isError(ZSTD_initDStream(state_)) != 0 ||
        ZSTD_isError(ZSTD_DCtx_setParameter(state_, ZSTD_d_windowLogMax, kMaxZstdWindowLog)) != 0)
      return error(Code::kInternal, "libzstd does not start");
    return ok_status();
  }
  Result<Progress> step(std::string_view in, char* out, size_t out_bytes, bool& ended) override {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    ZSTD_outBuffer into{out, out_bytes, 0};
    const size_t left = ZSTD_decompressStream(state_, &into, &from);
    if (ZSTD_isError(left) != 0) return damaged(ZSTD_getErrorName(left));
    ended = left == 0;
    return Progress{from.pos, into.pos};
  }

 private:
  ZSTD_DStream* state_;
};

const KnownPacking& known(Packing packing) {
  return *std::ranges::find(kPackings, packing, &KnownPacking::packing);
}

}  // namespace

std::optional<Packing> find_packing(std::string_view head) {
  // "BZh" alone could begin a text. After the level comes pi in BCD, or, if nothing is packed, its
  // square root.
  constexpr std::string_view kBzip2Block("1AY&SY"), kBzip2End("\x17\x72\x45\x38\x50\x90");
  for (const KnownPacking& packing : kPackings) {
    if (!head.starts_with(packing.magic)) continue;
    if (packing.packing != Packing::kBzip2) return packing.packing;
    const std::string_view rest = head.substr(std::min<size_t>(head.size(), 4));
    if (rest.starts_with(kBzip2Block) || rest.starts_with(kBzip2End)) return packing.packing;
  }
  return std::nullopt;
}

std::string_view packing_name(Packing packing) { return known(packing).name; }

std::string_view unpacked_name(std::string_view path) {
  for (const KnownPacking& packing : kPackings) {
    if (path.ends_with(packing.suffix)) return path.substr(0, path.size() - packing.suffix.size());
  }
  return path;
}

std::unique_ptr<Unpacker> create_unpacker(Packing packing) {
  switch (packing) {
    case Packing::kGzip:
      return std::make_unique<GzipUnpacker>();
    case Packing::kZstd:
      return std::make_unique<ZstdUnpacker>();
    case Packing::kBzip2:
      return std::make_unique<Bzip2Unpacker>();
    case Packing::kXz:
      return std::make_unique<XzUnpacker>();
  }
  return nullptr;
}

}  // namespace leasehold
