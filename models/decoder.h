// Forward passes over a text that grows token by token. Keeps what attention needs of earlier
// positions, their keys and values (a KV cache), so that a token costs one position's work and a
// look at the cache instead of a pass over the whole text. The model's own modules compute.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

// One text, its keys and values, and the buffers to append to it.
class Decoder {
 public:
  // Returns the bytes of keys and values of `positions`: 2 x layers x positions x kv_heads x
  // head_dim elements.
  static int64_t cache_bytes(const ModelConfig& config, int64_t positions, DType dtype);

  // Makes one for texts of at most `positions`, 1 to config.sequence. `model` is create_gpt's of
  // `config` with its parameters bound, on `device`; `kernels` have cached attention
  // (Kernels::has_cached_attention). All but the config must outlive the decoder. kUnavailable
  // where the device has too little memory.
  static Result<std::unique_ptr<Decoder>> create(const ModelConfig& config, Module& model,
                                                 Kernels& kernels, Device& device, Stream& stream,
                                                 int64_t positions);

  int64_t positions() const { return positions_; }
  int64_t length() const { return memory_.first; }  // of the text so far
  // Appends ids, at least one and no more than positions() - length(), and returns the (V) logits
  // of the token after the last of them, in fp32, valid until the next call. Blocks. Long inputs
  // are taken in pieces whose sizes follow from their length alone, so that the same calls give the
  // same bits with any number of threads. Logits differ from those of a pass over the whole text by
  // rounding, since sums run over other blocks. After an error the text must be cleared.
  Result<std::span<const float>> append(std::span<const int32_t> ids);
  // Forgets the text.
  void clear() { memory_.first = 0; }

 private:
  // A forward pass over a fixed number of tokens.
  struct Pass {
    int64_t count;
    std::unique_ptr<Saved> saved;
  };

  Decoder(const ModelConfig& config, Module& model, Kernels& kernels, Stream& stream,
          int64_t positions);
  // Takes everything from the arenas, which may be measuring ones.
  void allocate(Arena& device, Arena& scratch, Arena& host);
  void enqueue(const Pass& pass, const int32_t* ids);

  ModelConfig config_;
  Module& model_;
  Kernels& kernels_;
  Stream& stream_;
  int64_t positions_;
  std::vector<Arena> arenas_;
  TextMemory memory_;
  std::vector<Pass> passes_;  // the largest first, down to one token
  Tensor tokens_;             // (1, count of the largest) i32
  Tensor logits_;             // (1, V)
  Tensor logits_f32_;         // (V)
  Tensor host_tokens_;        // (positions) i32: copies are read when the stream comes to them
  Tensor host_logits_;        // (V) f32
};

}  // namespace leasehold
