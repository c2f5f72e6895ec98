// Reads the properties of a SentencePiece model from the bytes of its file
// (sentencepiece_model.proto in protobuf's wire format), because the library does not report them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace leasehold {

struct SentencePieceModel {
  std::vector<std::string> pieces;  // pieces that text can become: normal and user-defined ones
  int64_t num_pieces = 0;           // of all kinds
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  std::string unknown_surface = " \xE2\x81\x87 ";
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool denormalizes = false;
};

// Reads a model. kBadData, naming `file`, if the bytes are not such a message.
Result<SentencePieceModel> read_sentencepiece_model(std::string_view bytes,
                                                    const std::string& file);

}  // namespace leasehold
