// SentencePiece models (*.model), unigram and BPE, run by the library of the same name.
//
// The library encodes a text as a whole. Leasehold first cuts it into words, before a space or
// newline that follows a letter, number or punctuation, so that streams and threads give the same
// tokens. No token of a usual model crosses such a place; a model with such a token is refused. A
// byte of no UTF-8 character becomes its byte token, or the unknown token if the model has none.
// decode returns the text as the model's normalisation and vocabulary kept it, without the space
// that the model puts in front of a text.
//
// The library trusts its model files: use only files from sources that you trust.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "runtime/data/tokenizer.h"

namespace leasehold {

// Makes a tokenizer from `model`, the bytes of the file; `file` is for messages. kBadData, naming
// the part that is wrong or not implemented (denormalisers, spaces as suffixes, tokens across word
// borders).
Result<std::unique_ptr<Tokenizer>> create_sentencepiece_tokenizer(std::string_view model,
                                                                  const std::string& file);

// Returns a tokenizer.json that wraps the model, with `vocab` ids.
std::string wrap_sentencepiece_model(std::string_view model, int64_t vocab);

}  // namespace leasehold
