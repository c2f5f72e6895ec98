// Proofs by which the two sides of the control channel know each other, on ports that anybody
// may take and lines that anybody may read. Both know a key that is never sent.
//   request   Authorization: Leasehold NONCE SESSION MAC
//             MAC of method, target, nonce, session and body
//   answer    Authentication-Info: Leasehold SESSION MAC
//             MAC of status, the request's nonce, session and body
// The client draws a nonce for each request, so what was answered to another request is no answer
// to this one. The server draws a session when it starts. It refuses a request of another session
// with 401 and its own session, proved, and the client asks again with that one: what was overheard
// before this server started says nothing to it. Within a session a request that is repeated
// changes nothing: a report that is not newer than the newest of its node is not noted, and a job
// that drains is not drained again. So nobody has to remember nonces.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/mac.h"

namespace leasehold {

inline constexpr std::string_view kNoSession = "-";  // of a client that knows none yet

struct RequestProof {
  std::string nonce, session, mac;
};

struct AnswerProof {
  std::string session, mac;
};

// The parts that a MAC covers, besides nonce and session.
struct RequestText {
  std::string_view method, target, body;
};
struct AnswerText {
  int status = 0;
  std::string_view body;
};

// Returns 32 hexadecimal digits, for a nonce or a session. kUnavailable without randomness.
Result<std::string> make_nonce();

RequestProof prove_request(const SecretKey& key, const RequestText& request, std::string nonce,
                           std::string session);
bool is_proved(const SecretKey& key, const RequestText& request, const RequestProof& proof);

AnswerProof prove_answer(const SecretKey& key, const AnswerText& answer, std::string_view nonce,
                         std::string session);
bool is_proved(const SecretKey& key, const AnswerText& answer, std::string_view nonce,
               const AnswerProof& proof);

// Header values. Reading is strict (fuzzed): nothing for any other text.
std::string header_of(const RequestProof& proof);
std::string header_of(const AnswerProof& proof);
std::optional<RequestProof> parse_request_proof(std::string_view header);
std::optional<AnswerProof> parse_answer_proof(std::string_view header);

}  // namespace leasehold
