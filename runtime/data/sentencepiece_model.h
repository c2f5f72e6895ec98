// What a SentencePiece model file says of itself, read from its bytes (sentencepiece_model.proto in
// protobuf's wire format): the library does not tell it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct SentencePieceModel {
  std::vector<std::string> pieces;  // that text can become: normal and user-defined ones
  int64_t num_pieces = 0;           // all
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unknown_surface = " \xE2\x81\x87 ";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool denormalizes = false;
};

// kBadData, naming `file`, for what is no such message.
Result<SentencePieceModel> read_sentencepiece_model(std::string_view bytes,
                                                    const std::string& file);

}  // namespace leasehold
