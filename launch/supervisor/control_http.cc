#include "launch/supervisor/control_http.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>

#include "launch/supervisor/control_proof.h"
#include "launch/supervisor/control_protocol.h"

namespace leasehold {

namespace {

namespace http = boost::beast::http;

using Parser = http::request_parser<http::empty_body>;
using Head = http::request_header<>;

constexpr size_t kReceiveBytes = 4096;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

// A response, with the headers that only some responses have.
struct Reply {
  HttpResponse response;
  std::string headers;  // whole lines
};

Reply refuse(int status, const std::string& message, std::string headers = "") {
  return {refusal(status, message), std::move(headers)};
}

Reply unauthorized(const std::string& message) {
  return refuse(401, message, "WWW-Authenticate: Leasehold\r\n");
}

// A whole head, with the part of the body that came with it.
struct Received {
  std::string bytes;
  size_t head_size = 0;
  bool is_whole = false;  // the body was read, too
};

void send_reply(HttpPeer& peer, const Reply& reply, bool with_body = true) {
  const HttpResponse& response = reply.response;
  const auto reason = view(http::obsolete_reason(static_cast<http::status>(response.status)));
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\n{}Connection: close\r\nContent-Type: {}\r\n"
      "Content-Length: {}\r\n\r\n",
      response.status, reason, reply.headers, response.content_type, response.body.size());
  if (with_body) text += response.body;
  (void)peer.send(text);  // nobody to tell when the peer is gone
}

class BeastService : public HttpService {
 public:
  BeastService(std::vector<HttpRoute> routes, HttpSecrets secrets, int64_t max_body_bytes)
      : routes_(std::move(routes)), secrets_(std::move(secrets)), max_body_bytes_(max_body_bytes) {}

  bool serve(HttpPeer& peer) const override {
    std::optional<Received> received = receive_head(peer);
    if (!received) return false;
    Parser parser;
    parser.header_limit(kMaxHeadBytes);
    // The parser never sees a body; refuse_body() has the limit. (boost::none means 0 in 1.74.)
    parser.body_limit(std::numeric_limits<uint64_t>::max());
    boost::system::error_code failure;
    parser.put(boost::asio::buffer(received->bytes.data(), received->head_size), failure);
    if (!parser.is_header_done()) {
      send_reply(peer, refuse(400, "malformed request: " + failure.message()));
      return false;
    }
    const Reply reply = answer(peer, parser, *received);
    send_reply(peer, reply, parser.get().method() != http::verb::head);
    return received->is_whole;
  }

 private:
  // Returns nothing when the peer has left, or was refused here.
  static std::optional<Received> receive_head(HttpPeer& peer) {
    Received received;
    std::array<char, kReceiveBytes> buffer;
    size_t end = std::string::npos;
    while ((end = received.bytes.find(kHeadEnd)) == std::string::npos) {
      if (std::cmp_greater(received.bytes.size(), kMaxHeadBytes)) break;
      const Result<size_t> got = peer.receive(buffer.data(), buffer.size());
      if (!got.ok()) {
        send_reply(peer, refuse(408, "the request did not come in time"));
        return std::nullopt;
      }
      if (*got == 0) return std::nullopt;
      received.bytes.append(buffer.data(), *got);
    }
    received.head_size = end + kHeadEnd.size();
    if (end == std::string::npos || std::cmp_greater(received.head_size, kMaxHeadBytes)) {
      send_reply(peer, refuse(431, "headers too long"));
      return std::nullopt;
    }
    return received;
  }

  Reply answer(HttpPeer& peer, const Parser& parser, Received& received) const {
    const Head& head = parser.get();
    if ((head.version() != 10 && head.version() != 11) || head.method() == http::verb::unknown) {
      return refuse(400, "malformed request: neither HTTP/1.0 nor HTTP/1.1, or no known method");
    }
    const std::string_view credentials = credentials_of(head);
    const std::optional<RequestProof> proof = parse_request_proof(credentials);
    const bool is_scraper = !proof && has_token(credentials);
    if (!proof && !is_scraper) return unauthorized("prove that you have the run's key");
    if (std::optional<Reply> refused = refuse_body(parser)) return *std::move(refused);
    const std::optional<std::string> body = receive_body(peer, parser, received);
    if (!body) return refuse(408, "the body did not come in time");
    received.is_whole = true;
    if (is_scraper) return answer_route(head, *body, /*is_scraper=*/true);
    const RequestText request = {view(head.method_string()), view(head.target()), *body};
    if (!is_proved(secrets_.key, request, *proof)) return unauthorized("the proof is wrong");
    Reply reply = proof->session == secrets_.session
                      ? answer_route(head, *body, /*is_scraper=*/false)
                      : unauthorized("another session; this one is named by this answer's proof");
    const AnswerText text = {reply.response.status, reply.response.body};
    const AnswerProof own = prove_answer(secrets_.key, text, proof->nonce, secrets_.session);
    reply.headers += fmt::format("Authentication-Info: {}\r\n", header_of(own));
    return reply;
  }

  Reply answer_route(const Head& head, const std::string& body, bool is_scraper) const {
    const std::string_view target = view(head.target());
    const std::string_view path = target.substr(0, target.find_first_of("?#"));
    const HttpRoute* at_path = nullptr;
    const HttpRoute* route = nullptr;
    for (const HttpRoute& candidate : routes_) {
      if (candidate.path != path) continue;
      at_path = &candidate;
      if (candidate.method == view(head.method_string())) route = &candidate;
    }
    if (at_path == nullptr) return refuse(404, "no such path; " + paths());
    if (route == nullptr) {
      return refuse(405, fmt::format("{} takes {} only", at_path->path, at_path->method),
                    fmt::format("Allow: {}\r\n", at_path->method));
    }
    if (is_scraper && !route->for_scraper) return unauthorized("the token does not open this");
    try {
      return {route->answer(body), ""};
    } catch (...) {
      return refuse(500, "the supervisor failed at this request; its log tells more");
    }
  }

  // Returns nothing when the body may be read.
  std::optional<Reply> refuse_body(const Parser& parser) const {
    const Head& head = parser.get();
    if (head.count(http::field::transfer_encoding) > 0) {
      return refuse(411, "send a Content-Length, not a Transfer-Encoding");
    }
    // The parser accepts a length that is given several times.
    if (head.count(http::field::content_length) > 1 ||
        view(head[http::field::content_length]).find(',') != std::string_view::npos) {
      return refuse(400, "malformed Content-Length");
    }
    if (std::cmp_greater(parser.content_length().value_or(0), max_body_bytes_)) {
      return refuse(413, fmt::format("at most {} bytes are taken", max_body_bytes_));
    }
    return std::nullopt;
  }

  static std::optional<std::string> receive_body(HttpPeer& peer, const Parser& parser,
                                                 const Received& received) {
    const Head& head = parser.get();
    const size_t size = parser.content_length().value_or(0);
    std::string body = received.bytes.substr(received.head_size, size);
    const bool waits = boost::beast::iequals(head[http::field::expect], "100-continue");
    if (body.size() < size && waits && head.version() == 11) {
      if (!peer.send("HTTP/1.1 100 Continue\r\n\r\n").ok()) return std::nullopt;
    }
    std::array<char, kReceiveBytes> buffer;
    while (body.size() < size) {
      const size_t wanted = std::min(buffer.size(), size - body.size());
      const Result<size_t> got = peer.receive(buffer.data(), wanted);
      if (!got.ok() || *got == 0) return std::nullopt;
      body.append(buffer.data(), *got);
    }
    return body;
  }

  // Returns nothing unless there is one such header.
  static std::string_view credentials_of(const Head& head) {
    if (head.count(http::field::authorization) != 1) return {};
    return view(head[http::field::authorization]);
  }

  bool has_token(std::string_view credentials) const {
    constexpr std::string_view kScheme = "Bearer ";
    const std::string_view scheme = credentials.substr(0, kScheme.size());
    return boost::beast::iequals({scheme.data(), scheme.size()}, "Bearer ") &&
           same_secret(credentials.substr(scheme.size()), secrets_.scraper_token);
  }

  std::string paths() const {
    std::vector<std::string> names;
    names.reserve(routes_.size());
    for (const HttpRoute& route : routes_) names.push_back(route.method + " " + route.path);
    return fmt::format("there is {}", fmt::join(names, ", "));
  }

  const std::vector<HttpRoute> routes_;
  const HttpSecrets secrets_;
  const int64_t max_body_bytes_;
};

}  // namespace

HttpResponse refusal(int status, const std::string& message) {
  return {status, error_to_json(message)};
}

std::unique_ptr<HttpService> HttpService::create(std::vector<HttpRoute> routes, HttpSecrets secrets,
                                                 int64_t max_body_bytes) {
  return std::make_unique<BeastService>(std::move(routes), std::move(secrets), max_body_bytes);
}

}  // namespace leasehold
