#include "runtime/checkpoint/model_texts.h"

#include <nlohmann/json.hpp>

namespace leasehold {

namespace {

constexpr int64_t kMaxTextsBytes = int64_t{256} << 20;

std::string texts_path(const std::string& run_dir, const Digest128& digest) {
  return join_path(join_path(run_dir, "texts"), digest.to_hex() + ".json");
}

}  // namespace

CheckpointInfo without_texts(CheckpointInfo info) {
  info.tokenizer_json.clear();
  info.model_files.clear();
  return info;
}

Digest128 digest_of_texts(const CheckpointInfo& info) {
  Digester digester;
  const auto add = [&](const std::string& text) {
    digester.update_u64(text.size());
    digester.update(text);
  };
  add(info.tokenizer_json);
  for (const auto& [name, text] : info.model_files) {
    add(name);
    add(text);
  }
  return digester.finish();
}

Status keep_texts(FileSystem& files, const std::string& run_dir, const CheckpointInfo& info) {
  const std::string path = texts_path(run_dir, digest_of_texts(info));
  if (files.exists(path)) return ok_status();
  std::string text;
  try {
    text = nlohmann::json{{"tokenizer", info.tokenizer_json}, {"model_files", info.model_files}}
               .dump();
  } catch (const nlohmann::json::exception& failure) {
    return error(Code::kBadData, "the tokenizer or a file of the model is not UTF-8: {}",
                 failure.what());
  }
  LEASEHOLD_RETURN_IF_ERROR(files.make_directories(parent_path(path)));
  return publish_file(files, path, text + "\n", fmt::format("g{}", info.generation));
}

Result<std::string> read_texts(FileSystem& files, const std::string& run_dir,
                               const Digest128& digest) {
  const std::string path = texts_path(run_dir, digest);
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string text, read_file(files, path, kMaxTextsBytes));
  CheckpointInfo found;
  LEASEHOLD_RETURN_IF_ERROR(put_texts(text, found).annotated(path));
  if (digest_of_texts(found) == digest) return text;
  return error(Code::kBadData, "{}: damaged: it is not the text of its name", path);
}

Status put_texts(const std::string& text, CheckpointInfo& info) {
  try {
    const auto root = nlohmann::json::parse(text);
    info.tokenizer_json = root.at("tokenizer").get<std::string>();
    info.model_files = root.at("model_files").get<std::map<std::string, std::string>>();
    return ok_status();
  } catch (const nlohmann::json::exception& failure) {
    return error(Code::kBadData, "no texts of a model: {}", failure.what());
  }
}

}  // namespace leasehold
