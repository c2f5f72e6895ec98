// Tests SentencePiece with models that the library's own trainer makes here, in less than a second.
#include <fstream>
#include <gtest/gtest.h>
#include <random>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <nlohmann/json.hpp>

#include "runtime/data/reference_process.h"
#include "runtime/data/sentencepiece_tokenizer.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

std::vector<std::string> training_text() {
  std::vector<std::string> lines;
  std::mt19937 random(3);
  const char* const words[] = {"in",       "the",          "beginning",
                               "God",      "created",      "heaven",
                               "and",      "earth",        "was",
                               "without",  "form",         "void",
                               "darkness", "upon",         "face",
                               "deep",     "\xE4\xBB\x96", "\xD1\x81\xD0\xB2\xD0\xB5\xD1\x82",
                               "7,",       "12."};
  for (int i = 0; i < 300; ++i) {
    std::string line;
    for (int j = 0; j < 12; ++j) line += (j ? " " : "") + std::string(words[random() % 20]);
    lines.push_back(line);
  }
  return lines;
}

class Lines : public sentencepiece::SentenceIterator {
 public:
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_ = training_text();
  size_t at_ = 0;
};

std::string train(std::unordered_map<std::string, std::string> options) {
  options["vocab_size"] = "400";
  options["minloglevel"] = "9";
  options["hard_vocab_limit"] = "false";
  std::string model;
  Lines lines;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

// Returns a model like Llama 2's: BPE, bytes for unknown characters, no normalisation.
const std::string& llama_model() {
  static const std::string model = train({{"model_type", "bpe"},
                                          {"byte_fallback", "true"},
                                          {"normalization_rule_name", "identity"},
                                          {"remove_extra_whitespaces", "false"}});
  return model;
}

// Returns a model like T5's: unigram, NFKC.
const std::string& t5_model() {
  static const std::string model = train({{"model_type", "unigram"}});
  return model;
}

std::unique_ptr<Tokenizer> make(const std::string& model) {
  return create_sentencepiece_tokenizer(model, "t.model").value();
}

std::vector<int32_t> by_the_library(const std::string& model, const std::string& text) {
  sentencepiece::SentencePieceProcessor processor;
  EXPECT_TRUE(processor.LoadFromSerializedProto(model).ok());
  std::vector<int> ids;
  EXPECT_TRUE(processor.Encode(text, &ids).ok());
  return {ids.begin(), ids.end()};
}

const std::vector<std::string> kTexts = {
    "in the beginning God created the heaven and the earth",
    "  two spaces   and\n\nnew lines\nhere \n ",
    "\nfirst, void. 7, 12. \xE4\xBB\x96\xE4\xBB\x96 \xF0\x9F\x98\x80 \xC2\xA0 x\t y\r\nz",
    "a",
    " ",
    "",
    "word",
    "caf\xC3\xA9 \xEF\xAC\x81sh \xE3\x80\x80 wide",
};

TEST(SentencePiece, EncodesAsTheLibraryDoesWithAWholeText) {
  for (const std::string& model : {llama_model(), t5_model()}) {
    const auto tokenizer = make(model);
    for (const std::string& text : kTexts) {
      EXPECT_EQ(tokenizer->encode(text).value(), by_the_library(model, text)) << "'" << text << "'";
    }
  }
}

TEST(SentencePiece, GivesBackAnyBytesWhereTheModelKeepsThem) {
  const auto tokenizer = make(llama_model());
  std::mt19937 random(4);
  std::vector<std::string> texts = kTexts;
  texts.emplace_back("cut \xE4\xBB and \xFF\xFE, mid\x80word");
  for (int i = 0; i < 200; ++i) {
    std::string text;
    for (int j = 0; j < 30; ++j) text += " \nthe\xE4\xBB\x96\xFF\x80"[random() % 10];
    texts.push_back(text);
  }
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer->encode(text).value();
    EXPECT_EQ(tokenizer->decode(ids).value(), text);
    std::string decoded;
    for (size_t n = 1; n <= ids.size(); ++n) {
      const std::string longer = tokenizer->decode({ids.data(), n}).value();
      EXPECT_TRUE(longer.starts_with(decoded)) << text;
      decoded = longer;
    }
  }
}

TEST(SentencePiece, CuttingAtASeparablePlaceChangesNothing) {
  std::mt19937 random(5);
  for (const std::string& model : {llama_model(), t5_model()}) {
    const auto tokenizer = make(model);
    int64_t num_cuts = 0;
    for (int i = 0; i < 200; ++i) {
      std::string text;
      for (int j = 0; j < 40; ++j) text += "  \nthea,\xE4\xBB\x96\xFF"[random() % 11];
      const std::vector<int32_t> whole = tokenizer->encode(text).value();
      for (size_t seen = 0; seen <= text.size(); ++seen) {
        const auto cut = static_cast<size_t>(tokenizer->separable_prefix(text.substr(0, seen)));
        if (cut == 0) continue;
        std::vector<int32_t> apart = tokenizer->encode(text.substr(0, cut)).value();
        const std::vector<int32_t> rest = tokenizer->encode_rest(text.substr(cut)).value();
        apart.insert(apart.end(), rest.begin(), rest.end());
        EXPECT_EQ(apart, whole) << text;
        ++num_cuts;
      }
    }
    EXPECT_GT(num_cuts, 1000);
  }
}

TEST(SentencePiece, NormalisesAsTheModelSays) {
  const auto tokenizer = make(t5_model());
  const auto back = [&](const std::string& text) {
    return tokenizer->decode(tokenizer->encode(text).value()).value();
  };
  EXPECT_EQ(back("  in   the\nbeginning "), "in the beginning");
  EXPECT_EQ(back("God \xF0\x9F\x98\x80"), "God  \xE2\x81\x87 ");  // an unknown character
}

TEST(SentencePiece, ItsDescriptionComesBack) {
  const auto tokenizer = make(llama_model());
  const std::string json = tokenizer->to_json();
  const auto again = parse_tokenizer_json(json, "tokenizer.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again.value()->to_json(), json);
  EXPECT_EQ(again.value()->vocab_size(), tokenizer->vocab_size());
  EXPECT_EQ(again.value()->end_of_document(), 2);  // </s>
  EXPECT_EQ(again.value()->encode(kTexts[0]).value(), tokenizer->encode(kTexts[0]).value());
  EXPECT_EQ(tokenizer->decode({{2, 3000}}).status().code(), Code::kBadData);
}

TEST(SentencePiece, BadModelsAreRefused) {
  const auto expect_bad = [](const std::string& model, const std::string& part) {
    const Status status = create_sentencepiece_tokenizer(model, "t.model").status();
    EXPECT_EQ(status.code(), Code::kBadData);
    EXPECT_NE(status.message().find("t.model: "), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  expect_bad("", "not a SentencePiece model");
  expect_bad("{\"model\": 1}", "not a SentencePiece model");
  expect_bad(llama_model().substr(0, llama_model().size() - 1), "damaged");
  expect_bad(train({{"model_type", "bpe"}, {"treat_whitespace_as_suffix", "true"}}),
             "treat_whitespace_as_suffix");
  expect_bad(train({{"model_type", "unigram"}, {"user_defined_symbols", "New York"}}), "New");
}

// A folder like Llama 2's has both files, and the library for tokenizer.json is missing here.
TEST(SentencePiece, StandsInForATokenizerJsonThatTheLibraryReads) {
  TemporaryDirectory directory;
  std::ofstream(directory / "tokenizer.model", std::ios::binary) << llama_model();
  const auto model = create_sentencepiece_tokenizer(llama_model(), "m").value();
  const auto write_json = [&](int64_t ids) {
    nlohmann::json json = {{"model", {{"type", "BPE"}, {"byte_fallback", true}, {"merges", {}}}},
                           {"pre_tokenizer", nullptr},
                           {"decoder", nullptr}};
    for (int64_t id = 0; id < ids; ++id) json["model"]["vocab"][fmt::format("t{}", id)] = id;
    std::ofstream(directory / "tokenizer.json") << json.dump();
  };
  const auto load = [&] {
    return load_tokenizer(posix_files(), directory.path(), {.python = "/there/is/no/python"});
  };
  write_json(model->vocab_size());
  const auto taken = load();
  ASSERT_TRUE(taken.ok()) << taken.status().message();
  EXPECT_EQ(taken.value()->name(), "sentencepiece");
  ASSERT_EQ(taken.value()->notices().size(), 1u);
  EXPECT_NE(taken.value()->notices()[0].find("byte_fallback"), std::string::npos);
  EXPECT_EQ(taken.value()->encode("the heaven").value(), model->encode("the heaven").value());
  write_json(model->vocab_size() + 1);
  const Status other = load().status();
  EXPECT_EQ(other.code(), Code::kUnavailable);
  EXPECT_NE(other.message().find("pip install"), std::string::npos) << other.message();
}

}  // namespace
}  // namespace leasehold
