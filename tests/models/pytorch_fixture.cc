#include "tests/models/pytorch_fixture.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "runtime/base/check.h"

namespace leasehold {

namespace {

template <typename T>
std::vector<T> read_values(std::ifstream& file, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  file.read(reinterpret_cast<char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(T)));
  LEASEHOLD_CHECK(file.good(), "the fixture's binary is too short");
  return values;
}

PytorchFixture::Run read_run(const nlohmann::json& json) {
  return {json.at("losses").get<std::vector<double>>(),
          json.at("gradient_norms").get<std::vector<double>>()};
}

// Reads a model. The keys are the job file's; missing keys have their defaults.
ModelConfig read_model(const nlohmann::json& json) {
  auto map = to_map(ModelConfig{});
  for (const auto& [key, value] : json.items())
    map.at(key) = value.is_string() ? value.get<std::string>() : value.dump();
  // An absent `tied` stays absent, so that the family's default applies.
  if (!json.contains("tied")) map.erase("tied");
  return model_config_from_map(map).value();
}

}  // namespace

PytorchFixture read_pytorch_fixture(const std::string& name) {
  const std::string path = LEASEHOLD_FIXTURES "/pytorch_" + name;
  std::ifstream text(path + ".json");
  const auto json = nlohmann::json::parse(text);
  PytorchFixture fixture;
  fixture.model = read_model(json.at("model"));
  const auto& optimizer = json.at("optimizer");
  fixture.optimizer = {.lr = optimizer.at("lr"),
                       .min_lr = optimizer.at("min_lr"),
                       .warmup_steps = optimizer.at("warmup_steps"),
                       .weight_decay = optimizer.at("weight_decay"),
                       .beta1 = optimizer.at("beta1"),
                       .beta2 = optimizer.at("beta2"),
                       .eps = optimizer.at("eps"),
                       .grad_clip = optimizer.at("grad_clip")};
  fixture.steps = json.at("steps");
  fixture.sequences = json.at("sequences");
  fixture.float64 = read_run(json.at("float64"));
  fixture.float32 = read_run(json.at("float32"));

  std::ifstream binary(path + ".bin", std::ios::binary);
  const auto specs = describe_parameters(fixture.model);
  LEASEHOLD_CHECK(json.at("parameters").size() == specs.size(),
                  "{} parameters in the fixture, {} in the model", json.at("parameters").size(),
                  specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    const auto& parameter = json.at("parameters")[i];
    const auto extents = parameter.at("shape").get<std::vector<int64_t>>();
    LEASEHOLD_CHECK(parameter.at("name") == specs[i].name &&
                        Shape(std::span<const int64_t>(extents)) == specs[i].shape,
                    "parameter {} of the fixture is not {}", i, specs[i].name);
    fixture.weights[specs[i].name] = read_values<float>(binary, specs[i].shape.num_elements());
  }
  const int64_t N = fixture.sequences * fixture.model.sequence;
  fixture.windows = read_values<int32_t>(binary, fixture.steps * N);
  fixture.logits = read_values<double>(binary, N * fixture.model.vocab);
  return fixture;
}

}  // namespace leasehold
