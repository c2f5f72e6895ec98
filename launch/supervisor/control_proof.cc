#include "launch/supervisor/control_proof.h"

#include <vector>

namespace leasehold {

namespace {

constexpr std::string_view kScheme = "Leasehold";
constexpr size_t kNonceBytes = 16;

std::string mac_of(const SecretKey& key, const RequestText& request, std::string_view nonce,
                   std::string_view session) {
  Mac mac(key, "control request");
  mac.add(request.method).add(request.target).add(nonce).add(session).add(request.body);
  return mac.finish();
}

std::string mac_of(const SecretKey& key, const AnswerText& answer, std::string_view nonce,
                   std::string_view session) {
  Mac mac(key, "control answer");
  mac.add(std::to_string(answer.status)).add(nonce).add(session).add(answer.body);
  return mac.finish();
}

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_nonce(std::string_view text) { return is_hex(text, 2 * kNonceBytes); }

// Returns the words after the scheme, which one space parts; nothing unless there are `count`.
std::vector<std::string> words_of(std::string_view header, size_t count) {
  std::vector<std::string> words;
  if (!header.starts_with(kScheme)) return words;
  header.remove_prefix(kScheme.size());
  while (header.starts_with(' ') && words.size() < count) {
    header.remove_prefix(1);
    const std::string_view word = header.substr(0, header.find(' '));
    words.emplace_back(word);
    header.remove_prefix(word.size());
  }
  if (!header.empty() || words.size() != count) words.clear();
  return words;
}

}  // namespace

Result<std::string> make_nonce() { return random_hex(kNonceBytes); }

RequestProof prove_request(const SecretKey& key, const RequestText& request, std::string nonce,
                           std::string session) {
  std::string mac = mac_of(key, request, nonce, session);
  return {std::move(nonce), std::move(session), std::move(mac)};
}

bool is_proved(const SecretKey& key, const RequestText& request, const RequestProof& proof) {
  return same_secret(proof.mac, mac_of(key, request, proof.nonce, proof.session));
}

AnswerProof prove_answer(const SecretKey& key, const AnswerText& answer, std::string_view nonce,
                         std::string session) {
  std::string mac = mac_of(key, answer, nonce, session);
  return {std::move(session), std::move(mac)};
}

bool is_proved(const SecretKey& key, const AnswerText& answer, std::string_view nonce,
               const AnswerProof& proof) {
  return same_secret(proof.mac, mac_of(key, answer, nonce, proof.session));
}

std::string header_of(const RequestProof& proof) {
  return fmt::format("{} {} {} {}", kScheme, proof.nonce, proof.session, proof.mac);
}

std::string header_of(const AnswerProof& proof) {
  return fmt::format("{} {} {}", kScheme, proof.session, proof.mac);
}

std::optional<RequestProof> parse_request_proof(std::string_view header) {
  std::vector<std::string> words = words_of(header, 3);
  if (words.empty() || !is_nonce(words[0])) return std::nullopt;
  if (words[1] != kNoSession && !is_nonce(words[1])) return std::nullopt;
  if (!is_hex(words[2], Mac::kDigits)) return std::nullopt;
  return RequestProof{std::move(words[0]), std::move(words[1]), std::move(words[2])};
}

std::optional<AnswerProof> parse_answer_proof(std::string_view header) {
  std::vector<std::string> words = words_of(header, 2);
  if (words.empty() || !is_nonce(words[0]) || !is_hex(words[1], Mac::kDigits)) return std::nullopt;
  return AnswerProof{std::move(words[0]), std::move(words[1])};
}

}  // namespace leasehold
