#include "launch/supervisor/control_client.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace leasehold {

namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr std::string_view kVersion = "HTTP/1.";
constexpr std::string_view kLength = "content-length:";
constexpr std::string_view kProof = "authentication-info:";
constexpr int kUnauthorized = 401;
constexpr int64_t kMaxStateBytes = 64 << 20;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number = 0;
  const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || stop != text.data() + text.size() || number < 0) {
    return std::nullopt;
  }
  return number;
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// Returns the value of the one header of this name (lower case, with its colon); nothing without
// one or with several.
std::optional<std::string_view> header_value(std::string_view head, std::string_view name) {
  std::optional<std::string_view> value;
  while (!head.empty()) {
    const size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + kLineEnd.size(), head.size()));
    if (!std::ranges::equal(line.substr(0, name.size()), name, {}, lower)) continue;
    if (value) return std::nullopt;
    value = trimmed(line.substr(name.size()));
  }
  return value;
}

Result<std::string> receive_all(const Socket& socket, const SocketWait& wait, int64_t max_bytes) {
  std::string received;
  std::array<char, 4096> buffer;
  for (;;) {
    LEASEHOLD_ASSIGN_OR_RETURN(const size_t got,
                               receive_some(socket, buffer.data(), buffer.size(), wait));
    if (got == 0) return received;
    received.append(buffer.data(), got);
    if (std::ssize(received) > max_bytes) {
      return error(Code::kUnavailable, "more than {} bytes came back", max_bytes);
    }
  }
}

// Sends one request and returns what comes back, from whomever.
Result<ControlReply> exchange(const SocketAddress& address, const ControlRequest& request,
                              const RequestProof& proof, const SocketWait& wait,
                              int64_t max_bytes) {
  LEASEHOLD_ASSIGN_OR_RETURN(const Socket socket, connect_to(address, wait));
  const std::string text = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      request.method, request.path, format_socket_address(address), header_of(proof),
      request.body.size(), request.body);
  LEASEHOLD_RETURN_IF_ERROR(send_all(socket, text, wait));
  LEASEHOLD_ASSIGN_OR_RETURN(const std::string received, receive_all(socket, wait, max_bytes));
  return parse_reply(received);
}

Result<std::string> ask_operator(const Operator& who, const ControlRequest& request) {
  const SocketAddress address = {"127.0.0.1", who.port};
  const SocketWait wait = {Deadline::after_s(who.timeout_s), {}};
  ControlClient client(who.key, kMaxStateBytes);
  LEASEHOLD_ASSIGN_OR_RETURN(ControlReply reply, client.ask(address, request, wait));
  if (reply.status == 200) return std::move(reply.body);
  return error(Code::kUsage, "the supervisor at {} refuses: {} {}", format_socket_address(address),
               reply.status, parse_error(reply.body, "without a reason"));
}

}  // namespace

Result<ControlReply> parse_reply(std::string_view text) {
  const Status bad = error(Code::kBadData, "what came back is no answer of a supervisor");
  const size_t end = text.find(kHeadEnd);
  if (!text.starts_with(kVersion) || end == std::string_view::npos) return bad;
  const std::string_view head = text.substr(0, end);
  const std::string_view body = text.substr(end + kHeadEnd.size());
  constexpr size_t kStatusAt = kVersion.size() + 2;  // behind "HTTP/1.1 "
  if (head.size() < kStatusAt + 3) return bad;
  const std::optional<int> status = parse_number<int>(head.substr(kStatusAt, 3));
  if (!status || *status < 100) return bad;
  const auto length_text = header_value(head, kLength);
  const auto length = length_text ? parse_number<int64_t>(*length_text) : std::nullopt;
  if (!length || std::ssize(body) != *length) return bad;
  const auto proof = header_value(head, kProof);
  return ControlReply{*status, std::string(body), parse_answer_proof(proof.value_or(""))};
}

Result<ControlReply> ControlClient::ask_once(const SocketAddress& address,
                                             const ControlRequest& request,
                                             const SocketWait& wait) {
  LEASEHOLD_ASSIGN_OR_RETURN(std::string nonce, make_nonce());
  const RequestText text = {request.method, request.path, request.body};
  const RequestProof proof = prove_request(key_, text, std::move(nonce), session_);
  Result<ControlReply> reply = exchange(address, request, proof, wait, max_bytes_);
  const std::string name = format_socket_address(address);
  if (!reply.ok()) {
    return Status(Code::kUnavailable, reply.status().annotated(name).message());
  }
  const AnswerText said = {reply->status, reply->body};
  if (!reply->proof || !is_proved(key_, said, proof.nonce, *reply->proof)) {
    return error(Code::kUnavailable,
                 "{}: whoever answers there does not prove that it is the run's supervisor", name);
  }
  return reply;
}

Result<ControlReply> ControlClient::ask(const SocketAddress& address, const ControlRequest& request,
                                        const SocketWait& wait) {
  Result<ControlReply> reply = ask_once(address, request, wait);
  if (!reply.ok() || reply->proof->session == session_) return reply;
  session_ = reply->proof->session;
  return reply->status == kUnauthorized ? ask_once(address, request, wait) : reply;
}

Result<std::string> ask_state(const Operator& who) {
  return ask_operator(who, {"GET", "/state", ""});
}

Status ask_drain(const Operator& who, const std::string& reason) {
  const Result<std::string> answer = ask_operator(who, {"POST", "/drain", drain_to_json(reason)});
  return answer.ok() ? ok_status() : answer.status();
}

}  // namespace leasehold
