#include "launch/supervisor/control_http.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <httplib.h>
#include <optional>

#include "launch/supervisor/control_protocol.h"

namespace leasehold {

namespace {

constexpr size_t kReceiveBytes = 4096;
constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";
constexpr const char* kTooLong = "headers too long";

// Others do not reach the library: a Range would go through a recursive regular expression, a
// Content-Encoding would be decompressed, a Content-Type might start a parser of forms.
constexpr std::array<std::string_view, 4> kUsedHeaders = {"authorization", "content-length",
                                                          "transfer-encoding", "expect"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

// The request line and the lines of headers that are used; nothing when the head is malformed.
// `head` ends with an empty line.
std::optional<std::string> used_head(std::string_view head) {
  std::string used;
  head.remove_suffix(kLineEnd.size());  // the empty line; the last header keeps its end
  for (bool is_first = true; !head.empty(); is_first = false) {
    const size_t end = head.find(kLineEnd);
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + kLineEnd.size());
    const bool has_control = std::ranges::any_of(
        line, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == '\x7f'; });
    if (has_control) return std::nullopt;
    const size_t colon = line.find(':');
    if (!is_first && (colon == 0 || colon == std::string_view::npos)) return std::nullopt;
    const auto is_named = [&](std::string_view name) {
      return equal_ignoring_case(line.substr(0, colon), name);
    };
    if (is_first || std::ranges::any_of(kUsedHeaders, is_named)) used.append(line).append(kLineEnd);
  }
  return used.append(kLineEnd);
}

// What the library reads from and writes to: the head that was read already, then the body from the
// peer. What is written goes out in one piece.
class PeerStream : public httplib::Stream {
 public:
  PeerStream(HttpPeer& peer, std::string received) : peer_(peer), received_(std::move(received)) {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* buffer, size_t size) override {
    if (taken_ < received_.size()) {
      const size_t count = std::min(size, received_.size() - taken_);
      received_.copy(buffer, count, taken_);
      taken_ += count;
      return static_cast<ssize_t>(count);
    }
    if (!flush()) return -1;  // "100 Continue" goes before the body
    const Result<size_t> got = peer_.receive(buffer, size);
    return got.ok() ? static_cast<ssize_t>(*got) : -1;
  }
  ssize_t write(const char* bytes, size_t size) override {
    written_.append(bytes, size);
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  void get_local_ip_and_port(std::string& /*ip*/, int& /*port*/) const override {}
  socket_t socket() const override { return 0; }  // compared with FD_SETSIZE only

  bool flush() {
    if (written_.empty()) return true;
    return peer_.send(std::exchange(written_, {})).ok();
  }

 private:
  HttpPeer& peer_;
  std::string received_;
  size_t taken_ = 0;
  std::string written_;
};

class HttplibService : public HttpService, private httplib::Server {
 public:
  HttplibService(std::vector<HttpRoute> routes, std::string token, int64_t max_body_bytes)
      : routes_(std::move(routes)), token_(std::move(token)), max_body_bytes_(max_body_bytes) {
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      const std::optional<HttpResponse> refused = refuse(request, response);
      if (!refused) return HandlerResponse::Unhandled;
      put(*refused, response);
      return HandlerResponse::Handled;
    });
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
          put(refusal(500, "the supervisor failed at this request; its log tells more"), response);
        });
    // What the library itself refuses comes without a body.
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty()) put(refusal(response.status, "malformed request"), response);
    });
    for (const HttpRoute& route : routes_) add(route);
  }

  void serve(HttpPeer& peer) const override {
    std::string received;
    std::array<char, kReceiveBytes> buffer;
    size_t end = std::string::npos;
    while ((end = received.find(kHeadEnd)) == std::string::npos) {
      if (std::ssize(received) > kMaxHeadBytes) return refuse_head(peer, 431, kTooLong);
      const Result<size_t> got = peer.receive(buffer.data(), buffer.size());
      if (!got.ok()) return refuse_head(peer, 408, "the request did not come in time");
      if (*got == 0) return;
      received.append(buffer.data(), *got);
    }
    end += kHeadEnd.size();
    if (std::cmp_greater(end, kMaxHeadBytes)) return refuse_head(peer, 431, kTooLong);
    std::optional<std::string> head = used_head(std::string_view(received).substr(0, end));
    if (!head) return refuse_head(peer, 400, "malformed headers");
    PeerStream stream(peer, std::move(*head) + received.substr(end));
    bool is_closed = false;
    // Not const in the library, but made for several threads.
    const_cast<HttplibService*>(this)->process_request(stream, /*close_connection=*/true, is_closed,
                                                       nullptr);
    stream.flush();
  }

 private:
  static void put(const HttpResponse& ours, httplib::Response& response) {
    response.status = ours.status;
    response.set_content(ours.body, ours.content_type);
  }

  // A head that the library does not get to see.
  static void refuse_head(HttpPeer& peer, int status, const std::string& message) {
    const std::string body = error_to_json(message);
    // Nobody to tell when the peer is gone.
    (void)peer.send(
        fmt::format("HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Type: application/json\r\n"
                    "Content-Length: {}\r\n\r\n{}",
                    status, message, body.size(), body));
  }

  void add(const HttpRoute& route) {
    if (route.method == "GET") {
      Get(route.path, [&route](const httplib::Request&, httplib::Response& response) {
        put(route.answer(""), response);
      });
      return;
    }
    Post(route.path, [&route](const httplib::Request& request, httplib::Response& response,
                              const httplib::ContentReader& read) {
      std::string body;
      const auto append = [&](const char* bytes, size_t size) {
        body.append(bytes, size);
        return true;
      };
      // Without a length the library would read until the peer closes.
      const bool is_whole = !request.has_header("Content-Length") || read(append);
      put(is_whole ? route.answer(body) : refusal(408, "the body did not come in time"), response);
    });
  }

  // Nothing when the request may be read on and answered.
  std::optional<HttpResponse> refuse(const httplib::Request& request,
                                     httplib::Response& response) const {
    if (!is_authorized(request)) {
      response.set_header("WWW-Authenticate", "Bearer");
      return refusal(401, "send the job's token: Authorization: Bearer TOKEN");
    }
    const HttpRoute* at_path = nullptr;
    bool is_route = false;
    for (const HttpRoute& route : routes_) {
      if (route.path != request.path) continue;
      at_path = &route;
      is_route = is_route || route.method == request.method;
    }
    if (at_path == nullptr) return refusal(404, fmt::format("no such path; {}", paths()));
    if (!is_route) {
      response.set_header("Allow", at_path->method);
      return refusal(405, fmt::format("{} takes {} only", at_path->path, at_path->method));
    }
    return refuse_body(request);
  }

  std::optional<HttpResponse> refuse_body(const httplib::Request& request) const {
    if (request.has_header("Transfer-Encoding")) {
      return refusal(411, "send a Content-Length, not a Transfer-Encoding");
    }
    const size_t num_lengths = request.get_header_value_count("Content-Length");
    if (num_lengths == 0) return std::nullopt;
    const std::string text = request.get_header_value("Content-Length");
    uint64_t length = 0;
    const auto [stop, failure] = std::from_chars(text.data(), text.data() + text.size(), length);
    const bool is_huge = failure == std::errc::result_out_of_range;
    if (num_lengths > 1 || stop != text.data() + text.size() ||
        (failure != std::errc() && !is_huge)) {
      return refusal(400, "malformed Content-Length");
    }
    if (is_huge || length > static_cast<uint64_t>(max_body_bytes_)) {
      return refusal(413, fmt::format("at most {} bytes are taken", max_body_bytes_));
    }
    return std::nullopt;
  }

  bool is_authorized(const httplib::Request& request) const {
    constexpr std::string_view kScheme = "Bearer ";
    if (request.get_header_value_count("Authorization") != 1) return false;
    const std::string value = request.get_header_value("Authorization");
    return equal_ignoring_case(std::string_view(value).substr(0, kScheme.size()), kScheme) &&
           same_token(std::string_view(value).substr(kScheme.size()), token_);
  }

  std::string paths() const {
    std::vector<std::string> names;
    names.reserve(routes_.size());
    for (const HttpRoute& route : routes_) names.push_back(route.method + " " + route.path);
    return fmt::format("there is {}", fmt::join(names, ", "));
  }

  const std::vector<HttpRoute> routes_;
  const std::string token_;
  const int64_t max_body_bytes_;
};

}  // namespace

HttpResponse refusal(int status, const std::string& message) {
  return {status, error_to_json(message)};
}

std::unique_ptr<HttpService> HttpService::create(std::vector<HttpRoute> routes, std::string token,
                                                 int64_t max_body_bytes) {
  // The library's constructor ignores SIGPIPE for the whole process, which mpirun would inherit.
  struct sigaction before = {};
  sigaction(SIGPIPE, nullptr, &before);
  auto service =
      std::make_unique<HttplibService>(std::move(routes), std::move(token), max_body_bytes);
  sigaction(SIGPIPE, &before, nullptr);
  return service;
}

}  // namespace leasehold
