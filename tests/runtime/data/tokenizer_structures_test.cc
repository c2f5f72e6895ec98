// Tests tokenizers of the structures that models use against the results of Hugging Face's library,
// in files that make_tokenizer_structures.py wrote. tests/compare_tokenizers runs this with other
// documents, by LEASEHOLD_TOKENIZER_STRUCTURES.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <map>

#include <nlohmann/json.hpp>

#include "runtime/data/reference_tokenizer.h"
#include "runtime/data/tokenizer.h"

namespace leasehold {
namespace {

using StructureJson = nlohmann::json;

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string structures_folder() {
  const char* other = std::getenv("LEASEHOLD_TOKENIZER_STRUCTURES");
  return other != nullptr ? other : LEASEHOLD_FIXTURES "/tokenizers";
}

std::vector<std::string> structure_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(structures_folder()))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

std::string structure_json(const std::string& name) {
  return read_text(structures_folder() + "/" + name + "/tokenizer.json");
}

// Maps each name to "here", "library" or "refused", from the table in docs/tokenizers.md.
std::map<std::string, std::string> documented_structures() {
  std::map<std::string, std::string> rows;
  std::ifstream file(LEASEHOLD_FIXTURES "/../../docs/tokenizers.md");
  for (std::string line; std::getline(file, line);) {
    for (const std::string word : {"here", "library", "refused"}) {
      if (line.starts_with("| `") && line.ends_with("| " + word + " |"))
        rows[line.substr(3, line.find('`', 3) - 3)] = word;
    }
  }
  return rows;
}

void expect_vectors(const std::string& name, const Tokenizer& tokenizer) {
  const auto vectors =
      StructureJson::parse(read_text(structures_folder() + "/" + name + "/vectors.json"));
  EXPECT_GE(vectors.size(), 20u);
  int num_different = 0;
  for (const auto& vector : vectors) {
    const auto text = vector["text"].get<std::string>();
    const auto ids = tokenizer.encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    const auto decoded = tokenizer.decode(vector["ids"].get<std::vector<int32_t>>());
    ASSERT_TRUE(decoded.ok()) << decoded.status().message();
    const auto expected = vector["decoded"].get<std::string>();
    // The library shows bytes that are not a character as U+FFFD.
    const bool readable = expected.find("\xEF\xBF\xBD") == std::string::npos;
    const bool same = ids.value() == vector["ids"].get<std::vector<int32_t>>() &&
                      (!readable || decoded.value() == expected);
    if (same || ++num_different > 3) continue;
    ADD_FAILURE() << name << ": " << vector["text"].dump() << "\n  tokens "
                  << StructureJson(ids.value()).dump() << "\n  wanted " << vector["ids"].dump()
                  << "\n  text "
                  << StructureJson(decoded.value())
                         .dump(-1, ' ', false, StructureJson::error_handler_t::replace);
  }
  EXPECT_EQ(num_different, 0) << name << ", of " << vectors.size();
}

ReferenceProgram no_python() { return {.python = "/there/is/no/python"}; }

TEST(TokenizerStructures, ThoseDoneHereGiveTheLibrarysTokens) {
  int num_native = 0;
  for (const auto& [name, word] : documented_structures()) {
    if (word != "here") continue;
    const auto tokenizer = parse_native_tokenizer_json(structure_json(name), name);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    expect_vectors(name, *tokenizer.value());
    ++num_native;
  }
  EXPECT_GE(num_native, 8);
}

TEST(TokenizerStructures, TheOthersAreTheLibrarys) {
  const ReferenceProgram program = reference_program_from_environment();
  int num_compared = 0;
  for (const auto& [name, word] : documented_structures()) {
    if (word != "library") continue;
    const auto tokenizer = parse_tokenizer_json(structure_json(name), name, program);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    const Status started = tokenizer.value()->start();
    if (started.code() == Code::kUnavailable)
      GTEST_SKIP() << "no tokenizers library: " << started.message();
    ASSERT_TRUE(started.ok()) << started.message();
    expect_vectors(name, *tokenizer.value());
    ++num_compared;
  }
  EXPECT_GE(num_compared, 3);
}

TEST(TokenizerStructures, WithoutTheLibraryItsInstallationIsNamed) {
  for (const auto& [name, word] : documented_structures()) {
    if (word != "library") continue;
    const std::string json = structure_json(name);
    // A program that does not encode needs no library: a training run asks only for the number of
    // ids.
    const auto tokenizer = parse_tokenizer_json(json, name + ".json", no_python()).value();
    EXPECT_GT(tokenizer->vocab_size(), 250);
    EXPECT_TRUE(tokenizer->end_of_document().has_value());
    EXPECT_EQ(tokenizer->to_json(), json);
    const Status status = tokenizer->start();
    EXPECT_EQ(tokenizer->encode("a").status().code(), Code::kUnavailable);
    EXPECT_EQ(tokenizer->decode({{1}}).status().code(), Code::kUnavailable);
    EXPECT_EQ(status.code(), Code::kUnavailable) << name << ": " << status.message();
    for (const std::string& part :
         {name + ".json", std::string("not implemented"), reference_install_command()}) {
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    }
  }
}

TEST(TokenizerStructures, TheDocumentSaysWhatHappensToEach) {
  const auto documented = documented_structures();
  for (const std::string& name : structure_names())
    EXPECT_TRUE(documented.contains(name)) << "docs/tokenizers.md has no row for " << name;
  EXPECT_EQ(documented.at("dropout"), "refused");
  StructureJson drops = StructureJson::parse(structure_json("gpt2"));
  drops["model"]["dropout"] = 0.1;
  EXPECT_EQ(parse_tokenizer_json(drops.dump(), "t.json", no_python()).status().code(),
            Code::kBadData);
}

TEST(TokenizerStructures, TokensAroundDocumentsAreFound) {
  const std::map<std::string, std::pair<std::string, std::string>> expected = {
      {"gpt2", {"", "<|endoftext|>"}},
      {"llama3", {"<|begin_of_text|>", "<|end_of_text|>"}},
      {"deepseek", {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"}},
      {"roberta", {"<s>", "</s>"}},
  };
  for (const auto& [name, tokens] : expected) {
    const auto tokenizer = parse_native_tokenizer_json(structure_json(name), name).value();
    EXPECT_EQ(tokenizer->beginning_of_document(), tokenizer->token_id(tokens.first)) << name;
    EXPECT_EQ(tokenizer->end_of_document(), tokenizer->token_id(tokens.second)) << name;
  }
}

// Streams of every structure are cut only where no token changes.
TEST(TokenizerStructures, CuttingAtASeparablePlaceChangesNothing) {
  for (const auto& [name, word] : documented_structures()) {
    if (word != "here") continue;
    const auto tokenizer = parse_native_tokenizer_json(structure_json(name), name).value();
    const auto vectors =
        StructureJson::parse(read_text(structures_folder() + "/" + name + "/vectors.json"));
    int num_cuts = 0;
    for (const auto& vector : vectors) {
      const auto text = vector["text"].get<std::string>();
      size_t last = 0;
      for (size_t seen = 1; seen <= text.size(); ++seen) {
        const auto cut = static_cast<size_t>(tokenizer->separable_prefix(text.substr(0, seen)));
        if (cut == last) continue;
        last = cut;
        ++num_cuts;
        std::vector<int32_t> apart = tokenizer->encode(text.substr(0, cut)).value();
        const auto rest = tokenizer->encode_rest(text.substr(cut)).value();
        apart.insert(apart.end(), rest.begin(), rest.end());
        ASSERT_EQ(apart, vector["ids"].get<std::vector<int32_t>>())
            << name << ", cut at " << cut << ": " << vector["text"].dump();
      }
    }
    EXPECT_GT(num_cuts, 30) << name;
  }
}

}  // namespace
}  // namespace leasehold
