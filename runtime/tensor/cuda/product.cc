#include "runtime/tensor/cuda/product.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <vector>

#include "runtime/tensor/algorithm_choices.h"

namespace leasehold::cuda {

namespace {

constexpr std::array kForms = {"forward", "input", "weight"};
constexpr std::array kEpilogues = {"none",     "bias",          "gelu",          "gelu_bias",
                                   "gelu_aux", "gelu_aux_bias", "gelu_gradient", "bias_gradient"};

template <size_t Count>
std::optional<uint8_t> index_of(const std::array<const char*, Count>& names,
                                const std::string& name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<uint8_t>(found - names.begin());
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

template <typename Number>
std::optional<Number> parse_number(const std::string& text, int base) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, problem] = std::from_chars(text.data(), end, value, base);
  if (problem != std::errc{} || stop != end) return std::nullopt;
  return value;
}

Status bad_line(const std::string& line) {
  return error(Code::kBadData, "'{}' is no line of a table of algorithms", line);
}

// "none", or the words of an algorithm.
Result<std::optional<Algorithm>> parse_algorithm(const std::string& text, const std::string& line) {
  const std::vector<std::string> words = words_of(text);
  if (words == std::vector<std::string>{"none"}) return std::optional<Algorithm>();
  Algorithm algorithm;
  if (words.size() != algorithm.words.size()) return bad_line(line);
  for (size_t i = 0; i < words.size(); ++i) {
    const auto word = parse_number<uint64_t>(words[i], 16);
    if (!word) return bad_line(line);
    algorithm.words[i] = *word;
  }
  return std::optional<Algorithm>(algorithm);
}

}  // namespace

std::string Product::to_string() const {
  return fmt::format("{} {} {} {} {} {} {} {}{}", kForms[static_cast<size_t>(form)], rows, columns,
                     depth, dtype_name(input), dtype_name(output),
                     kEpilogues[static_cast<size_t>(epilogue)], aligned ? "aligned" : "unaligned",
                     stride == 0 ? std::string() : fmt::format(" stride {}", stride));
}

Result<Product> parse_product(const std::string& text) {
  const std::vector<std::string> words = words_of(text);
  const bool has_stride = words.size() == 10 && words[8] == "stride";
  if (words.size() != 8 && !has_stride) return bad_line(text);
  const auto form = index_of(kForms, words[0]);
  const auto rows = parse_number<int64_t>(words[1], 10);
  const auto columns = parse_number<int64_t>(words[2], 10);
  const auto depth = parse_number<int64_t>(words[3], 10);
  const auto epilogue = index_of(kEpilogues, words[6]);
  const bool has_alignment = words[7] == "aligned" || words[7] == "unaligned";
  const auto stride = has_stride ? parse_number<int64_t>(words[9], 10) : 0;
  if (!stride || *stride < 0) return bad_line(text);
  if (!form || !rows || !columns || !depth || !epilogue || !has_alignment) return bad_line(text);
  Product product;
  product.form = static_cast<ProductForm>(*form);
  product.rows = *rows, product.columns = *columns, product.depth = *depth;
  LEASEHOLD_ASSIGN_OR_RETURN(product.input, parse_dtype(words[4]));
  LEASEHOLD_ASSIGN_OR_RETURN(product.output, parse_dtype(words[5]));
  product.epilogue = static_cast<Epilogue>(*epilogue);
  product.aligned = words[7] == "aligned";
  product.stride = *stride;
  return product;
}

const std::optional<Algorithm>* AlgorithmTable::find(const Product& product) const {
  const auto found = entries_.find(product);
  return found == entries_.end() ? nullptr : &found->second;
}

void AlgorithmTable::set(const Product& product, const std::optional<Algorithm>& algorithm) {
  entries_[product] = algorithm;
}

std::string AlgorithmTable::to_text() const {
  std::string text = kAlgorithmsHeading + library_ + "\n";
  for (const auto& [product, algorithm] : entries_) {
    text += product.to_string() + " =";
    if (!algorithm) {
      text += " none";
    } else {
      for (const uint64_t word : algorithm->words) text += fmt::format(" {:x}", word);
    }
    text += "\n";
  }
  return text;
}

Result<AlgorithmTable> AlgorithmTable::parse(const std::string& text) {
  std::istringstream stream(text);
  std::string line;
  const std::string heading = kAlgorithmsHeading;
  if (!std::getline(stream, line) || !line.starts_with(heading)) return bad_line(line);
  AlgorithmTable table(line.substr(heading.size()));
  while (std::getline(stream, line)) {
    const size_t equals = line.find(" = ");
    if (equals == std::string::npos) return bad_line(line);
    LEASEHOLD_ASSIGN_OR_RETURN(const Product product, parse_product(line.substr(0, equals)));
    LEASEHOLD_ASSIGN_OR_RETURN(const std::optional<Algorithm> algorithm,
                               parse_algorithm(line.substr(equals + 3), line));
    if (!table.entries_.emplace(product, algorithm).second) {
      return error(Code::kBadData, "a table of algorithms names '{}' twice", product.to_string());
    }
  }
  return table;
}

}  // namespace leasehold::cuda
