// Tests models in and out: every element is in its place, bit by bit, and no output is ever half
// written.
#include "models/model_import.h"

#include <cstring>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/foreign_model.h"
#include "models/model_export.h"
#include "tests/models/foreign_fixture.h"
#include "tests/models/pytorch_fixture.h"
#include "tests/support/faulty_files.h"
#include "tests/support/temporary_directory.h"

namespace leasehold {
namespace {

class ModelImportTest : public testing::Test {
 protected:
  LoadedCheckpoint import_fixture(const std::string& name, int64_t file_bytes = kWeightsFileBytes) {
    const Result<ImportSummary> imported = import_model(disk_, {.input = foreign_fixture(name),
                                                                .output = directory_ / "checkpoint",
                                                                .tag = "test",
                                                                .file_bytes = file_bytes});
    throw_if_error(imported.status());
    return load_whole(disk_, directory_ / "checkpoint");
  }
  ExportSummary export_it(const std::string& dtype, int64_t shard_bytes) {
    throw_if_error(disk_.remove_all(directory_ / "folder"));
    const Result<ExportSummary> exported =
        export_model(disk_, {.checkpoint = directory_ / "checkpoint",
                             .output = directory_ / "folder",
                             .dtype = dtype,
                             .shard_bytes = shard_bytes,
                             .tag = "test"});
    throw_if_error(exported.status());
    return *exported;
  }
  // Compares the tensors of the exported folder with the fixture's, byte for byte.
  void expect_same_bytes(const std::string& fixture, const std::string& dtype) {
    ForeignModel before = open_huggingface_folder(disk_, foreign_fixture(fixture)).value();
    ForeignModel after = open_huggingface_folder(disk_, directory_ / "folder").value();
    EXPECT_EQ(after.config, before.config);
    ASSERT_EQ(after.mapping.tensors.size(), before.mapping.tensors.size());
    for (size_t i = 0; i < after.mapping.tensors.size(); ++i) {
      const ForeignTensor& tensor = after.mapping.tensors[i];
      EXPECT_TRUE(tensor.name.ends_with(before.mapping.tensors[i].name)) << tensor.name;
      EXPECT_EQ(after.locations[i].dtype, dtype) << tensor.name;
      EXPECT_EQ(before.locations[i].dtype, dtype) << tensor.name;
      const auto bytes = [&](const ForeignModel& model) {
        const auto file = disk_.open(model.weights.path_of(model.locations[i])).value();
        std::string content(static_cast<size_t>(tensor.num_elements()) * (dtype == "F32" ? 4 : 2),
                            '\0');
        throw_if_error(
            file->read_at(model.locations[i].offset, content.data(), std::ssize(content)));
        return content;
      };
      EXPECT_EQ(bytes(after), bytes(before)) << tensor.name;
    }
  }

  FileSystem& disk_ = posix_files();
  TemporaryDirectory directory_;
};

// These are the weights that PyTorch trains in pytorch_test, so logits and losses agree as they do
// there.
TEST_F(ModelImportTest, Gpt2IsTheModelThatPytorchTrains) {
  const LoadedCheckpoint loaded = import_fixture("gpt2");
  const PytorchFixture fixture = read_pytorch_fixture("gpt2");
  EXPECT_EQ(loaded.weights, fixture.weights);
  EXPECT_EQ(loaded.step, 0);
  ModelConfig expected = fixture.model;
  expected.dropout = 0.1;
  EXPECT_EQ(loaded.config, expected);
  EXPECT_EQ(export_it("fp32", 1 << 20).num_files, 1);
  expect_same_bytes("gpt2", "F32");
  EXPECT_GT(export_it("fp32", 10000).num_files, 3);
  expect_same_bytes("gpt2", "F32");
}

TEST_F(ModelImportTest, Gpt2OfBf16InShards) {
  const LoadedCheckpoint loaded = import_fixture("gpt2-bf16", 1);  // a file for each parameter
  EXPECT_EQ(loaded.num_files, 28);
  const int64_t C = 8, H = 2, D = 4;
  EXPECT_EQ(loaded.config.hidden, C);
  for (int64_t layer = 0; layer < 2; ++layer) {
    const std::string ours = fmt::format("blocks.{}.", layer);
    const std::string theirs = fmt::format("h.{}.", layer);
    const auto& qkv = loaded.weights.at(ours + "attention.qkv.weight");          // (H, 3, D, C)
    const auto& bias = loaded.weights.at(ours + "attention.qkv.bias");           // (H, 3, D)
    const auto& projection = loaded.weights.at(ours + "mlp.projection.weight");  // (C, 4 C)
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t slot = 0; slot < 3; ++slot) {
        for (int64_t d = 0; d < D; ++d) {
          const auto row = static_cast<size_t>((h * 3 + slot) * D + d);
          const int64_t column = slot * C + h * D + d;  // of c_attn, (C, 3 C)
          EXPECT_EQ(bias[row], pattern(theirs + "attn.c_attn.bias", column));
          for (int64_t c = 0; c < C; ++c) {
            EXPECT_EQ(qkv[row * static_cast<size_t>(C) + static_cast<size_t>(c)],
                      pattern(theirs + "attn.c_attn.weight", c * 3 * C + column));
          }
        }
      }
    }
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t f = 0; f < 4 * C; ++f) {
        EXPECT_EQ(projection[static_cast<size_t>(c * 4 * C + f)],
                  pattern(theirs + "mlp.c_proj.weight", f * C + c));
      }
    }
  }
  export_it("bf16", 3000);
  expect_same_bytes("gpt2-bf16", "BF16");
}

void expect_llama(const LoadedCheckpoint& loaded) {
  const int64_t C = 16, G = 2, R = 2, D = 4, F = 24;
  for (int64_t layer = 0; layer < 2; ++layer) {
    const std::string ours = fmt::format("blocks.{}.", layer);
    const std::string theirs = fmt::format("model.layers.{}.", layer);
    const auto& qkv = loaded.weights.at(ours + "attention.qkv.weight");  // (G, R + 2, D, C)
    size_t at = 0;
    for (int64_t g = 0; g < G; ++g) {
      for (int64_t slot = 0; slot < R + 2; ++slot) {
        const std::string name = theirs + (slot < R    ? "self_attn.q_proj.weight"
                                           : slot == R ? "self_attn.k_proj.weight"
                                                       : "self_attn.v_proj.weight");
        const int64_t head = slot < R ? g * R + slot : g;
        for (int64_t i = 0; i < D * C; ++i)
          EXPECT_EQ(qkv[at++], pattern(name, head * D * C + i)) << name;
      }
    }
    const auto& gate_up = loaded.weights.at(ours + "mlp.gate_up.weight");  // (2, F, C)
    for (int64_t i = 0; i < F * C; ++i) {
      EXPECT_EQ(gate_up[static_cast<size_t>(i)], pattern(theirs + "mlp.gate_proj.weight", i));
      EXPECT_EQ(gate_up[static_cast<size_t>(F * C + i)], pattern(theirs + "mlp.up_proj.weight", i));
    }
    const auto& down = loaded.weights.at(ours + "mlp.projection.weight");  // (C, F)
    for (int64_t i = 0; i < F * C; ++i)
      EXPECT_EQ(down[static_cast<size_t>(i)], pattern(theirs + "mlp.down_proj.weight", i));
    EXPECT_EQ(loaded.weights.at(ours + "mlp.norm.weight")[3],
              pattern(theirs + "post_attention_layernorm.weight", 3));
    EXPECT_EQ(loaded.weights.at(ours + "attention.norm.weight")[3],
              pattern(theirs + "input_layernorm.weight", 3));
  }
  EXPECT_EQ(loaded.weights.at("norm.weight")[15], pattern("model.norm.weight", 15));
}

TEST_F(ModelImportTest, Llama) {
  const LoadedCheckpoint loaded = import_fixture("llama");
  expect_llama(loaded);
  EXPECT_EQ(loaded.config.rope_factor, 8);
  EXPECT_EQ(loaded.weights.at("head.weight")[100], pattern("lm_head.weight", 100));
  export_it("fp32", 5000);
  expect_same_bytes("llama", "F32");
}

TEST_F(ModelImportTest, TiedLlamaOfF16) {
  const LoadedCheckpoint loaded = import_fixture("llama-f16");
  expect_llama(loaded);
  EXPECT_TRUE(loaded.config.tied);
  EXPECT_FALSE(loaded.weights.contains("head.weight"));
  // Exported as fp32 and imported again, the state is the same.
  export_it("fp32", 1 << 20);
  throw_if_error(disk_.remove_all(directory_ / "checkpoint"));
  ASSERT_TRUE(import_model(disk_, {.input = directory_ / "folder",
                                   .output = directory_ / "checkpoint",
                                   .tag = "test"})
                  .ok());
  EXPECT_EQ(load_whole(disk_, directory_ / "checkpoint").weights, loaded.weights);
}

TEST_F(ModelImportTest, LlmcFilesOfBothVersions) {
  const LoadedCheckpoint fp32 = import_fixture("llmc/gpt2_fp32.bin");
  throw_if_error(disk_.remove_all(directory_ / "checkpoint"));
  const LoadedCheckpoint bf16 = import_fixture("llmc/gpt2_bf16.bin");
  EXPECT_EQ(fp32.weights, bf16.weights);
  const size_t C = 8;
  EXPECT_EQ(fp32.weights.at("embedding.token.weight").size(), 11 * C);
  EXPECT_EQ(fp32.weights.at("embedding.token.weight")[80], pattern("wte", 80));
  EXPECT_EQ(fp32.weights.at("embedding.position.weight")[7], pattern("wpe", 7));
  // Row (head 1, value, 2) of (H, 3, D, C) is row (value, head 1, 2) of (3, H, D, C).
  EXPECT_EQ(fp32.weights.at("blocks.1.attention.qkv.weight")[((1 * 3 + 2) * 4 + 2) * C + 5],
            pattern("qkvw.1", ((2 * 2 + 1) * 4 + 2) * 8 + 5));
  EXPECT_EQ(fp32.weights.at("blocks.1.mlp.projection.weight")[9], pattern("fcprojw.1", 9));
  EXPECT_EQ(fp32.weights.at("norm.bias")[7], pattern("lnfb", 7));
}

// Returns GPT-2's 256 characters for bytes: printable bytes stand for themselves, the others follow
// from 256 on.
std::string byte_vocabulary() {
  nlohmann::json vocabulary;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
    const int code = itself ? byte : next++;
    std::string character;
    if (code < 0x80) {
      character += static_cast<char>(code);
    } else {
      character += static_cast<char>(0xc0 | code >> 6);
      character += static_cast<char>(0x80 | (code & 0x3f));
    }
    vocabulary[character] = byte;
  }
  return vocabulary.dump();
}

TEST_F(ModelImportTest, ATokenizerThatFitsComesAlong) {
  FaultyFiles files;
  throw_if_error(files.make_directories("in"));
  files.set_content("in/config.json", kSmallGpt2);
  files.set_content("in/model.safetensors", make_safetensors(small_gpt2_tensors()));
  const auto import_with = [&](const std::string& tokenizer) {
    files.set_content("in/tokenizer.json", tokenizer);
    throw_if_error(files.remove_all("out"));
    const auto imported = import_model(files, {.input = "in", .output = "out", .tag = "test"});
    throw_if_error(imported.status());
    return imported->tokenizer + "|" + load_whole(files, "out").tokenizer_json;
  };
  // A model that came with a tokenizer is not imported without one unless the caller asks for that.
  const auto expect_refused = [&](const std::string& tokenizer, const std::string& words) {
    files.set_content("in/tokenizer.json", tokenizer);
    const Status refused =
        import_model(files, {.input = "in", .output = "out", .tag = "test"}).status();
    EXPECT_EQ(refused.code(), Code::kBadData);
    for (const std::string& word : {words, std::string("--tokenizer none")})
      EXPECT_NE(refused.message().find(word), std::string::npos) << refused.message();
    EXPECT_FALSE(files.exists("out"));
    const auto alone =
        import_model(files, {.input = "in", .output = "out", .tokenizer = "none", .tag = "test"});
    EXPECT_TRUE(alone.ok()) << alone.status().message();
    EXPECT_EQ(load_whole(files, "out").tokenizer_json, "");
    throw_if_error(files.remove_all("out"));
  };
  const std::string byte =
      R"({"format": "leasehold-tokenizer", "version": 1, "name": "byte", "vocab": 256})";
  expect_refused("{", "in/tokenizer.json");
  expect_refused(byte, "256 ids");  // the model has 5

  ModelConfig config{.layers = 1, .hidden = 4, .heads = 2, .sequence = 3, .vocab = 256};
  config = complete_model_config(config).value();
  std::string text = kSmallGpt2;
  text.replace(text.find("\"vocab_size\": 5"), 15, "\"vocab_size\": 256");
  files.set_content("in/config.json", text);
  files.set_content("in/model.safetensors", make_safetensors(tensors_of(config)));
  EXPECT_TRUE(import_with(byte).starts_with("byte, 256 ids|{\"format\""));
  EXPECT_NE(export_model(files, {.checkpoint = "out", .output = "folder", .tag = "test"})
                ->tokenizer.find("not written"),
            std::string::npos);
  EXPECT_FALSE(files.exists("folder/tokenizer.json"));
  // Hugging Face's own tokenizer goes in and out unchanged.
  const std::string theirs = R"({"version": "1.0", "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": )" +
                             byte_vocabulary() + R"(, "merges": []}})";
  EXPECT_TRUE(import_with(theirs).starts_with("byte-level BPE, 256 ids|"));
  throw_if_error(files.remove_all("folder"));
  EXPECT_EQ(
      export_model(files, {.checkpoint = "out", .output = "folder", .tag = "test"})->tokenizer,
      "tokenizer.json");
  EXPECT_EQ(nlohmann::json::parse(files.content("folder/tokenizer.json")),
            nlohmann::json::parse(theirs));
  EXPECT_TRUE(files.exists("folder/tokenizer_config.json"));
}

// A small GPT-2 with a byte-level tokenizer that has one more token, <end>, with the id 256.
class CompanionFilesTest : public testing::Test {
 protected:
  CompanionFilesTest() {
    throw_if_error(files_.make_directories("in"));
    ModelConfig config{.layers = 1, .hidden = 4, .heads = 2, .sequence = 3, .vocab = 260};
    config = complete_model_config(config).value();
    files_.set_content("in/model.safetensors", make_safetensors(tensors_of(config)));
    files_.set_content("in/tokenizer.json", R"({"version": "1.0", "added_tokens": [
        {"id": 256, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
         "normalized": false, "special": true}], "normalizer": null,
      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
      "post_processor": null, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "vocab": )" + byte_vocabulary() +
                                                R"(, "merges": []}})");
    set_config("{}");
  }
  // Writes config.json with more fields.
  void set_config(const std::string& more) {
    nlohmann::json root = nlohmann::json::parse(kSmallGpt2);
    root["vocab_size"] = 260;
    root.update(nlohmann::json::parse(more));
    files_.set_content("in/config.json", root.dump());
  }
  ImportSummary there_and_back() {
    const auto imported = import_model(files_, {.input = "in", .output = "kept", .tag = "test"});
    throw_if_error(imported.status());
    throw_if_error(
        export_model(files_, {.checkpoint = "kept", .output = "out", .tag = "test"}).status());
    return *imported;
  }
  nlohmann::json json_of(const std::string& name) {
    return nlohmann::json::parse(files_.content("out/" + name));
  }

  FaultyFiles files_;
};

TEST_F(CompanionFilesTest, TheIdsThatCameInGoOut) {
  set_config(R"({"bos_token_id": 255, "eos_token_id": [256, 10], "pad_token_id": null})");
  const std::map<std::string, std::string> texts = {
      {"generation_config.json", "{\n \"eos_token_id\": [256, 10], \"top_p\": 0.9 }"},
      {"special_tokens_map.json", "{ \"eos_token\": \"<end>\" }"},
      {"added_tokens.json", "{\"<end>\":256}"},
      {"chat_template.jinja", "{{ bos_token }}\n"}};
  for (const auto& [name, text] : texts) files_.set_content("in/" + name, text);
  files_.set_content("in/tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer",
      "eos_token": {"content": "<end>", "lstrip": false}, "model_input_names": ["x"],
      "model_max_length": 7})");
  EXPECT_TRUE(there_and_back().notices.empty());
  for (const auto& [name, text] : texts) EXPECT_EQ(files_.content("out/" + name), text) << name;
  EXPECT_EQ(files_.content("out/tokenizer.json"), files_.content("in/tokenizer.json"));
  const nlohmann::json config = json_of("config.json");
  EXPECT_EQ(config["bos_token_id"], 255);
  EXPECT_EQ(config["eos_token_id"], (std::vector<int>{256, 10}));
  EXPECT_TRUE(config.contains("pad_token_id"));
  EXPECT_TRUE(config["pad_token_id"].is_null());
  const nlohmann::json setup = json_of("tokenizer_config.json");
  EXPECT_EQ(setup["tokenizer_class"], "GPT2Tokenizer");
  EXPECT_EQ(setup["eos_token"]["content"], "<end>");
  EXPECT_EQ(setup["model_max_length"], 7);
  EXPECT_EQ(setup["model_input_names"], (std::vector<std::string>{"input_ids", "attention_mask"}));
}

// A padding token was added after a vocabulary, and the model was not resized.
TEST_F(CompanionFilesTest, AddedTokensThatTheModelLacksAreSaid) {
  ModelConfig config{.layers = 1, .hidden = 4, .heads = 2, .sequence = 3, .vocab = 256};
  config = complete_model_config(config).value();
  files_.set_content("in/model.safetensors", make_safetensors(tensors_of(config)));
  set_config(R"({"vocab_size": 256})");
  const ImportSummary imported = there_and_back();
  ASSERT_EQ(imported.notices.size(), 1U);
  EXPECT_NE(imported.notices[0].find("up to 256"), std::string::npos) << imported.notices[0];
  EXPECT_EQ(files_.content("out/tokenizer.json"), files_.content("in/tokenizer.json"));
}

TEST_F(CompanionFilesTest, AnotherTokenizerMayBeNamed) {
  files_.set_content("in/tokenizer.json", "{}");
  const auto imported =
      import_model(files_, {.input = "in", .output = "kept", .tokenizer = "byte", .tag = "test"});
  ASSERT_TRUE(imported.ok()) << imported.status().message();
  EXPECT_EQ(imported->tokenizer, "byte, 256 ids");
}

TEST_F(CompanionFilesTest, TokensAreNamedByTheModelsIds) {
  set_config(R"({"bos_token_id": 65, "eos_token_id": 256, "pad_token_id": -1})");
  there_and_back();
  const nlohmann::json setup = json_of("tokenizer_config.json");
  EXPECT_EQ(setup["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(setup["bos_token"], "A");
  EXPECT_EQ(setup["eos_token"], "<end>");
  EXPECT_FALSE(setup.contains("pad_token"));
  EXPECT_EQ(setup["clean_up_tokenization_spaces"], false);
  EXPECT_EQ(setup["model_input_names"], (std::vector<std::string>{"input_ids", "attention_mask"}));
  EXPECT_FALSE(files_.exists("out/generation_config.json"));  // as it came
}

// transformers uses its own default for a missing id: 50256 for a GPT-2.
TEST_F(CompanionFilesTest, WhatIsNotKnownIsNull) {
  throw_if_error(files_.remove_all("in/tokenizer.json"));
  there_and_back();
  const nlohmann::json config = json_of("config.json");
  for (const char* name : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    ASSERT_TRUE(config.contains(name));
    EXPECT_TRUE(config[name].is_null()) << name;
  }
  EXPECT_FALSE(files_.exists("out/tokenizer_config.json"));
}

TEST_F(CompanionFilesTest, NamesOfVersion5AreWrittenAsBothVersionsReadThem) {
  files_.set_content("in/tokenizer_config.json", R"({"tokenizer_class": "TokenizersBackend",
      "extra_special_tokens": ["<end>"]})");
  there_and_back();
  const nlohmann::json setup = json_of("tokenizer_config.json");
  EXPECT_EQ(setup["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(setup["additional_special_tokens"], std::vector<std::string>{"<end>"});
  EXPECT_FALSE(setup.contains("extra_special_tokens"));
}

TEST_F(CompanionFilesTest, WhatCannotBeKeptIsSaid) {
  files_.set_content("in/added_tokens.json", "[1]");
  files_.set_content("in/chat_template.jinja", "\xff");
  const ImportSummary imported = there_and_back();
  ASSERT_EQ(imported.notices.size(), 2U);
  EXPECT_NE(imported.notices[0].find("in/added_tokens.json"), std::string::npos);
  EXPECT_NE(imported.notices[1].find("in/chat_template.jinja"), std::string::npos);
  EXPECT_FALSE(files_.exists("out/added_tokens.json"));
}

// Lets each change to the storage fail once: the output is whole or does not exist, and nothing
// else is left.
template <typename Act>
void expect_whole_or_absent(const Act& act) {
  for (int64_t n = 0;; ++n) {
    FaultyFiles files(static_cast<uint64_t>(n));
    throw_if_error(files.make_directories("in"));
    files.set_content("in/config.json", kSmallGpt2);
    files.set_content("in/model.safetensors", make_safetensors(small_gpt2_tensors()));
    ASSERT_TRUE(import_model(files, {.input = "in", .output = "start", .tag = "test"}).ok());
    throw_if_error(files.sync_directory("."));
    const auto before = files.list(".").value();
    const int64_t first = files.num_changes();
    files.fail_change(first + n);
    const Status status = act(files);
    const auto after = files.list(".").value();
    if (status.ok()) {
      EXPECT_GT(n, 5);
      EXPECT_TRUE(files.exists("out"));
      return;
    }
    EXPECT_EQ(status.code(), Code::kStorage) << n << " " << status.message();
    if (!files.exists("out")) {
      EXPECT_EQ(after, before) << n;
    }
    ASSERT_LT(n, 1000);
  }
}

TEST_F(ModelImportTest, AFailingDiskLeavesNothingHalfThere) {
  expect_whole_or_absent([](FileSystem& files) {
    return import_model(files, {.input = "in", .output = "out", .tag = "test", .file_bytes = 1})
        .status();
  });
  expect_whole_or_absent([](FileSystem& files) {
    return export_model(files,
                        {.checkpoint = "start", .output = "out", .shard_bytes = 100, .tag = "test"})
        .status();
  });
}

// Crashes the machine once at each change: afterwards the output is whole under its name, or does
// not exist.
TEST_F(ModelImportTest, ACrashLeavesAWholeCheckpointOrNone) {
  bool whole = false;
  for (int64_t n = 0; !whole; ++n) {
    ASSERT_LT(n, 1000);
    FaultyFiles files(static_cast<uint64_t>(n));
    throw_if_error(files.make_directories("in"));
    files.set_content("in/config.json", kSmallLlama);
    files.set_content("in/model.safetensors", make_safetensors(small_llama_tensors()));
    files.crash_at_change(files.num_changes() + n);
    whole = import_model(files, {.input = "in", .output = "out", .tag = "test", .file_bytes = 200})
                .ok();
    if (whole) files.crash_now();
    files.restart(n % 2 == 0 ? FaultyFiles::Loss::kUnsynced : FaultyFiles::Loss::kRandom);
    EXPECT_TRUE(!whole || files.exists("out"));
    if (files.exists("out")) {
      EXPECT_EQ(load_whole(files, "out").config.family, "llama") << n;
    }
  }
}

TEST_F(ModelImportTest, WhatIsThereIsNotTouched) {
  import_fixture("gpt2");
  const auto again = import_model(
      disk_,
      {.input = foreign_fixture("llama"), .output = directory_ / "checkpoint", .tag = "test"});
  EXPECT_EQ(again.status().code(), Code::kBadConfig);
  const auto exported = export_model(disk_, {.checkpoint = directory_ / "checkpoint",
                                             .output = directory_ / "checkpoint",
                                             .tag = "test"});
  EXPECT_EQ(exported.status().code(), Code::kBadConfig);
  EXPECT_EQ(load_whole(disk_, directory_ / "checkpoint").weights,
            read_pytorch_fixture("gpt2").weights);
  // An existing empty folder may be filled.
  throw_if_error(disk_.make_directories(directory_ / "folder"));
  EXPECT_TRUE(export_model(disk_, {.checkpoint = directory_ / "checkpoint",
                                   .output = directory_ / "folder",
                                   .tag = "test"})
                  .ok());
}

TEST_F(ModelImportTest, ExportRefusesWhatItCannotGive) {
  import_fixture("gpt2");
  ExportOptions options{
      .checkpoint = directory_ / "checkpoint", .output = directory_ / "folder", .tag = "test"};
  options.dtype = "fp16";
  EXPECT_EQ(export_model(disk_, options).status().code(), Code::kUsage);
  options.dtype = "fp32";
  options.shard_bytes = 0;
  EXPECT_EQ(export_model(disk_, options).status().code(), Code::kUsage);
  options.shard_bytes = 1000;
  options.checkpoint = directory_ / "nowhere";
  EXPECT_EQ(export_model(disk_, options).status().code(), Code::kMissingInput);
  options.checkpoint = directory_ / "checkpoint";
  const std::string shard = directory_ / "checkpoint/shard-00000-of-00001.safetensors";
  std::string content = read_file(disk_, shard).value();
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, content.data(), sizeof header_bytes);
  content[sizeof header_bytes + header_bytes + 100] ^= 1;  // a bit of the first weights
  throw_if_error(publish_file(disk_, shard, content, "test"));
  const Status damaged = export_model(disk_, options).status();
  EXPECT_EQ(damaged.code(), Code::kBadData);
  EXPECT_NE(damaged.message().find("digest"), std::string::npos) << damaged.message();
  EXPECT_FALSE(disk_.exists(directory_ / "folder"));
}

}  // namespace
}  // namespace leasehold
