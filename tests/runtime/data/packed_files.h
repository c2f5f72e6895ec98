// Packs bytes as the programs gzip, zstd, bzip2 and xz do, for tests that read them.
#pragma once

#include <bzlib.h>
#include <lzma.h>
#include <string>
#include <zlib.h>
#include <zstd.h>

#include "runtime/data/unpacker.h"

namespace leasehold {

inline std::string gzipped(const std::string& bytes) {
  z_stream state{};
  constexpr int kGzip = 16;
  deflateInit2(&state, 6, Z_DEFLATED, MAX_WBITS + kGzip, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&state, bytes.size()), '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  state.avail_in = static_cast<uInt>(bytes.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  deflate(&state, Z_FINISH);
  out.resize(state.total_out);
  deflateEnd(&state);
  return out;
}

inline std::string packed(Packing packing, const std::string& bytes) {
  std::string out(bytes.size() + bytes.size() / 2 + 1024, '\0');
  switch (packing) {
    case Packing::kGzip:
      return gzipped(bytes);
    case Packing::kZstd: {
      ZSTD_CCtx* context = ZSTD_createCCtx();
      ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // like zstd(1)
      out.resize(ZSTD_compress2(context, out.data(), out.size(), bytes.data(), bytes.size()));
      ZSTD_freeCCtx(context);
      return out;
    }
    case Packing::kBzip2: {
      auto size = static_cast<unsigned>(out.size());
      BZ2_bzBuffToBuffCompress(out.data(), &size, const_cast<char*>(bytes.data()),
                               static_cast<unsigned>(bytes.size()), 9, 0, 0);
      out.resize(size);
      return out;
    }
    case Packing::kXz: {
      size_t size = 0;
      (void)lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr,
                                    reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                    reinterpret_cast<uint8_t*>(out.data()), &size, out.size());
      out.resize(size);
      return out;
    }
  }
  return out;
}

inline constexpr Packing kAllPackings[] = {Packing::kGzip, Packing::kZstd, Packing::kBzip2,
                                           Packing::kXz};

}  // namespace leasehold
