// Forward passes over a text that grows token by token. A Decoder keeps the keys and values of
// earlier positions (a KV cache). So a token costs the work of one position and a read of the
// cache, not a pass over the whole text. The model's own modules compute.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "models/describe.h"
#include "runtime/module/module.h"

namespace leasehold {

// A Decoder holds one text, its keys and values, and the buffers to append to it.
class Decoder {
 public:
  // Returns the bytes of the keys and values of `positions`: 2 x layers x positions x kv_heads x
  // head_dim elements.
  static int64_t cache_bytes(const ModelConfig& config, int64_t positions, DType dtype);

  // Makes a decoder for texts of at most `positions`, 1 to config.sequence. `model` is create_gpt's
  // of `config`, with its parameters bound, on `device`. `kernels` must have cached attention
  // (Kernels::has_cached_attention). Everything but the config must outlive the decoder.
  // kUnavailable if the device has too little memory.
  static Result<std::unique_ptr<Decoder>> create(const ModelConfig& config, Module& model,
                                                 Kernels& kernels, Device& device, Stream& stream,
                                                 int64_t positions);

  int64_t positions() const { return positions_; }
  int64_t length() const { return memory_.first; }  // of the text so far
  // Appends ids, at least one and at most positions() - length(). Returns the (V) logits of the
  // token after the last id, in fp32, valid until the next call. Blocks. A long input is split into
  // passes whose sizes follow from its length alone, so that the same calls give the same bits with
  // any number of threads. The logits differ by rounding from those of a pass over the whole text,
  // since sums run over other blocks. After an error the text must be cleared.
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
  // (positions) i32. One place per position: a copy is read when the stream reaches it.
  Tensor host_tokens_;
  Tensor host_logits_;  // (V) f32
};

}  // namespace leasehold
