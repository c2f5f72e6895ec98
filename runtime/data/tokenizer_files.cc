// Makes tokenizers from files and folders: chooses the file to read, and adds what its neighbours
// say.
#include <algorithm>

#include "runtime/data/find_document_tokens.h"
#include "runtime/data/reference_tokenizer.h"
#include "runtime/data/sentencepiece_tokenizer.h"
#include "runtime/data/tokenizer.h"
#include "runtime/data/vocab_merges.h"

namespace leasehold {

namespace {

using Made = Result<std::unique_ptr<Tokenizer>>;

class TokenizerLoader {
 public:
  TokenizerLoader(FileSystem& files, const ReferenceProgram& program)
      : files_(files), program_(program) {}

  Made from_directory(const std::string& directory) {
    const auto holds = [&](const char* name) { return files_.exists(join_path(directory, name)); };
    if (holds("tokenizer.json")) {
      LEASEHOLD_ASSIGN_OR_RETURN(auto made, from_file(join_path(directory, "tokenizer.json")));
      const Status started = made->start();
      if (started.ok()) return made;
      if (!holds("tokenizer.model")) return started;
      return from_model_instead(directory, *made, started);
    }
    if (holds("vocab.json")) {
      if (holds("merges.txt")) return started(with_tokens(from_vocab_merges(directory), directory));
      return error(Code::kMissingInput, "{} holds vocab.json but no merges.txt; put both there",
                   directory);
    }
    if (holds("tokenizer.model")) return from_file(join_path(directory, "tokenizer.model"));
    return error(Code::kMissingInput,
                 "{} holds no tokenizer.json, no vocab.json with merges.txt and no "
                 "tokenizer.model; name a directory or file that does",
                 directory);
  }

  static Made started(Made made) {
    if (made.ok()) LEASEHOLD_RETURN_IF_ERROR(made.value()->start());
    return made;
  }

  // Reads a single file. Other files of the folder belong to a tokenizer.json or *.model, not to a
  // file of another name.
  Made from_file(const std::string& path) {
    LEASEHOLD_ASSIGN_OR_RETURN(const std::string content, read_file(files_, path));
    if (path.ends_with(".model"))
      return with_tokens(create_sentencepiece_tokenizer(content, path), parent_path(path));
    LEASEHOLD_ASSIGN_OR_RETURN(auto made, parse_tokenizer_json(content, path, program_));
    LEASEHOLD_ASSIGN_OR_RETURN(const NotedJson noted, split_document_tokens(content, path));
    const std::string name = path.substr(path.rfind('/') + 1);
    if (noted.tokens || name != "tokenizer.json") return made;
    return with_tokens(std::move(made), parent_path(path));
  }

 private:
  Made from_vocab_merges(const std::string& directory) {
    LEASEHOLD_ASSIGN_OR_RETURN(VocabMerges read, read_vocab_merges(files_, directory));
    const std::string file = join_path(directory, "vocab.json");
    // The vocabulary comes first, so that an error in it names file and line.
    const auto native = create_bpe_tokenizer(read.description, file);
    if (!native.ok()) return Status(Code::kBadData, native.status().message());
    LEASEHOLD_ASSIGN_OR_RETURN(
        auto made,
        parse_tokenizer_json(write_huggingface_tokenizer(read.description, read.add_prefix_space),
                             file, program_));
    for (std::string& notice : read.notices)
      made->add_notice(fmt::format("{}: {}", directory, notice));
    return made;
  }

  Made from_model_instead(const std::string& directory, const Tokenizer& wanted,
                          const Status& why) {
    auto model = from_file(join_path(directory, "tokenizer.model"));
    if (!model.ok() || model.value()->vocab_size() != wanted.vocab_size()) return why;
    model.value()->add_notice(fmt::format(
        "tokenizer.model is taken, which has the same ids, instead of {}", why.message()));
    return model;
  }

  Made with_tokens(Made made, const std::string& directory) {
    if (!made.ok()) return made;
    Tokenizer& tokenizer = *made.value();
    const TokenLookup lookup{[&](std::string_view content) { return tokenizer.token_id(content); },
                             tokenizer.vocab_size()};
    std::vector<std::string> notices;
    LEASEHOLD_ASSIGN_OR_RETURN(
        DocumentTokens tokens,
        find_tokens_around(files_, directory, lookup, tokenizer.document_tokens(), notices));
    tokenizer.set_document_tokens(std::move(tokens));
    for (std::string& notice : notices) tokenizer.add_notice(std::move(notice));
    return made;
  }

  FileSystem& files_;
  const ReferenceProgram& program_;
};

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path) {
  return load_tokenizer(files, name_or_path, reference_program_from_environment());
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer(FileSystem& files,
                                                  const std::string& name_or_path,
                                                  const ReferenceProgram& program) {
  if (std::ranges::count(tokenizer_names(), name_or_path) > 0)
    return create_tokenizer(name_or_path);
  if (!files.exists(name_or_path)) {
    return error(Code::kUsage,
                 "there is no tokenizer '{}'; there is: {}, or a path: a tokenizer.json, a "
                 "SentencePiece *.model, or a directory with one of these or with vocab.json and "
                 "merges.txt",
                 name_or_path, fmt::join(tokenizer_names(), ", "));
  }
  TokenizerLoader loader(files, program);
  if (files.list(name_or_path).ok()) return loader.from_directory(name_or_path);
  return TokenizerLoader::started(loader.from_file(name_or_path));
}

}  // namespace leasehold
