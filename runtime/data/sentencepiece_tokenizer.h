// SentencePiece models (*.model), unigram and BPE, by the library of the same name.
//
// The library encodes a text as a whole; here it is cut into words first, in front of a space or
// newline behind a letter, number or punctuation, so that streams and threads give the same tokens.
// No token of a usual model reaches over such a place; a model with one that does is refused. A
// byte of no UTF-8 character becomes its byte token, or the unknown token where the model has none.
// decode gives back what the model's normalisation and vocabulary kept, without the space that the
// model puts in front of a text.
//
// The library believes much of its model files: take them from whom you trust.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/data/tokenizer.h"

namespace leasehold {

// `model`: the bytes of the file; `file` is for messages. kBadData naming what is wrong or not
// implemented (denormalisers, spaces as suffixes, tokens over word borders).
Result<std::unique_ptr<Tokenizer>> create_sentencepiece_tokenizer(std::string_view model,
                                                                  const std::string& file);

// tokenizer.json of `vocab` ids around the model.
std::string wrap_sentencepiece_model(std::string_view model, int64_t vocab);

}  // namespace leasehold
