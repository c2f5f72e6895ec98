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

// The value of the one Content-Length; nothing without one or with several.
std::optional<int64_t> content_length(std::string_view head) {
  std::optional<int64_t> length;
  while (!head.empty()) {
    const size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + kLineEnd.size(), head.size()));
    if (!std::ranges::equal(line.substr(0, kLength.size()), kLength, {}, lower)) continue;
    if (length) return std::nullopt;
    length = parse_number<int64_t>(trimmed(line.substr(kLength.size())));
    if (!length) return std::nullopt;
  }
  return length;
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

Result<std::string> ask(const Operator& who, const ControlRequest& request) {
  const SocketAddress address = {"127.0.0.1", who.port};
  const SocketWait wait = {Deadline::after_s(who.timeout_s), {}};
  LEASEHOLD_ASSIGN_OR_RETURN(ControlReply reply,
                             send_request(address, request, wait, kMaxStateBytes));
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
  const std::optional<int64_t> length = content_length(head);
  if (!length || std::ssize(body) != *length) return bad;
  return ControlReply{*status, std::string(body)};
}

Result<ControlReply> send_request(const SocketAddress& address, const ControlRequest& request,
                                  const SocketWait& wait, int64_t max_bytes) {
  const std::string name = format_socket_address(address);
  LEASEHOLD_ASSIGN_OR_RETURN(const Socket socket, connect_to(address, wait));
  const std::string text = fmt::format(
      "{} {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\nConnection: close\r\n\r\n{}",
      request.method, request.path, name, request.token, request.body.size(), request.body);
  const Status sent = send_all(socket, text, wait);
  if (!sent.ok()) return sent.annotated(name);
  const Result<std::string> received = receive_all(socket, wait, max_bytes);
  if (!received.ok()) return received.status().annotated(name);
  Result<ControlReply> reply = parse_reply(*received);
  if (!reply.ok()) return Status(Code::kUnavailable, reply.status().annotated(name).message());
  return reply;
}

Result<std::string> ask_state(const Operator& who) {
  return ask(who, {"GET", "/state", who.token, ""});
}

Status ask_drain(const Operator& who, const std::string& reason) {
  const Result<std::string> answer = ask(who, {"POST", "/drain", who.token, drain_to_json(reason)});
  return answer.ok() ? ok_status() : answer.status();
}

}  // namespace leasehold
