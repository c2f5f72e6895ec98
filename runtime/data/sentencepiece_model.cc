#include "runtime/data/sentencepiece_model.h"

#include "runtime/base/file_kind.h"

namespace leasehold {

namespace {

// One field of a message: a number, or bytes.
struct Field {
  uint64_t number = 0;
  bool is_bytes = false;
  uint64_t value = 0;
  std::string_view bytes;
};

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : left_(bytes) {}

  bool at_end() const { return left_.empty(); }

  // Returns false if the bytes are not a message.
  bool next(Field& field) {
    uint64_t key = 0;
    if (!varint(key) || key >> 3 == 0) return false;
    field = {.number = key >> 3};
    switch (key & 7) {
      case 0:
        return varint(field.value);
      case 1:
        return take(8, field);
      case 2: {
        uint64_t size = 0;
        field.is_bytes = true;
        return varint(size) && take(size, field);
      }
      case 5:
        return take(4, field);
      default:
        return false;
    }
  }

 private:
  bool varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) return false;
      const auto byte = static_cast<uint8_t>(left_.front());
      left_.remove_prefix(1);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool take(uint64_t size, Field& field) {
    if (size > left_.size()) return false;
    field.bytes = left_.substr(0, static_cast<size_t>(size));
    left_.remove_prefix(static_cast<size_t>(size));
    return true;
  }

  std::string_view left_;
};

// Calls visit(field) for each field. Returns false if the bytes are not a message.
template <typename Visit>
bool each_field(std::string_view message, const Visit& visit) {
  WireReader reader(message);
  Field field;
  while (!reader.at_end()) {
    if (!reader.next(field) || !visit(field)) return false;
  }
  return true;
}

// Field numbers and values of sentencepiece_model.proto.
constexpr uint64_t kNormalPiece = 1, kUserDefinedPiece = 4;

bool read_piece(std::string_view message, SentencePieceModel& model) {
  std::string_view text;
  uint64_t type = kNormalPiece;
  const bool good = each_field(message, [&](const Field& field) {
    if (field.number == 1 && field.is_bytes) text = field.bytes;
    if (field.number == 3) type = field.value;
    return true;
  });
  if (type == kNormalPiece || type == kUserDefinedPiece) model.pieces.emplace_back(text);
  ++model.num_pieces;
  return good;
}

bool read_trainer(std::string_view message, SentencePieceModel& model) {
  return each_field(message, [&](const Field& field) {
    if (field.number == 24) model.whitespace_as_suffix = field.value != 0;
    if (field.number == 35) model.byte_fallback = field.value != 0;
    if (field.number == 44 && field.is_bytes) model.unknown_surface = field.bytes;
    return true;
  });
}

bool read_normalizer(std::string_view message, SentencePieceModel& model) {
  return each_field(message, [&](const Field& field) {
    if (field.number == 3) model.add_dummy_prefix = field.value != 0;
    if (field.number == 4) model.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) model.escape_whitespaces = field.value != 0;
    return true;
  });
}

bool read_denormalizer(std::string_view message, SentencePieceModel& model) {
  return each_field(message, [&](const Field& field) {
    if (field.number == 2 && !field.bytes.empty()) model.denormalizes = true;
    return true;
  });
}

}  // namespace

Result<SentencePieceModel> read_sentencepiece_model(std::string_view bytes,
                                                    const std::string& file) {
  SentencePieceModel model;
  const bool good = each_field(bytes, [&](const Field& field) {
    if (!field.is_bytes) return true;
    switch (field.number) {
      case 1:
        return read_piece(field.bytes, model);
      case 2:
        return read_trainer(field.bytes, model);
      case 3:
        return read_normalizer(field.bytes, model);
      case 5:
        return read_denormalizer(field.bytes, model);
      default:
        return true;
    }
  });
  if (!good || model.num_pieces == 0) {
    LEASEHOLD_RETURN_IF_ERROR(check_file_kind(bytes, file, "a SentencePiece model"));
    return error(Code::kBadData,
                 "{}: not a SentencePiece model, or a damaged one; take the file again", file);
  }
  return model;
}

}  // namespace leasehold
