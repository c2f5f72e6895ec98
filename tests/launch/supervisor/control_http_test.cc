// Requests as bytes, without sockets: what is let through, what is refused and how.
#include "launch/supervisor/control_http.h"

#include <csignal>
#include <gtest/gtest.h>
#include <vector>

#include "launch/supervisor/control_client.h"
#include "launch/supervisor/control_proof.h"

namespace leasehold {
namespace {

constexpr int64_t kMaxBody = 100;
constexpr const char* kAuthorization = "Authorization: Bearer secret\r\n";
const std::string kSession(32, '5');

// Says what it was given, then closes or, if told so, says nothing more until the service gives up.
class ScriptedPeer : public HttpPeer {
 public:
  ScriptedPeer(std::string says, size_t bytes_at_once, bool stays_silent)
      : says_(std::move(says)), bytes_at_once_(bytes_at_once), stays_silent_(stays_silent) {}
  Result<size_t> receive(char* buffer, size_t size) override {
    const size_t count = std::min({size, bytes_at_once_, says_.size() - said_});
    if (count == 0 && stays_silent_) return error(Code::kUnavailable, "the time is over");
    says_.copy(buffer, count, said_);
    said_ += count;
    return count;
  }
  Status send(std::string_view bytes) override {
    heard_ += bytes;
    return ok_status();
  }
  const std::string& heard() const { return heard_; }
  size_t num_said() const { return said_; }

 private:
  std::string says_;
  size_t bytes_at_once_;
  bool stays_silent_;
  size_t said_ = 0;
  std::string heard_;
};

class ControlHttp : public ::testing::Test {
 protected:
  ControlHttp()
      : service_(HttpService::create(
            {{"POST", "/echo",
              [this](const std::string& body) {
                bodies_.push_back(body);
                return HttpResponse{200, "[" + body + "]"};
              },
              /*for_scraper=*/true},
             {"GET", "/text",
              [](const std::string&) {
                return HttpResponse{200, "0123456789", "text/plain; version=0.0.4"};
              },
              /*for_scraper=*/true},
             {"POST", "/locked",
              [this](const std::string& body) {
                bodies_.push_back(body);
                return HttpResponse{200, "{}"};
              }},
             {"GET", "/broken",
              [](const std::string&) -> HttpResponse { throw std::runtime_error("a secret"); },
              /*for_scraper=*/true}},
            {key_, kSession, "secret"}, kMaxBody)) {}

  std::string exchange(const std::string& request, size_t bytes_at_once = 1 << 20) {
    ScriptedPeer peer(request, bytes_at_once, /*stays_silent=*/true);
    was_whole_ = service_->serve(peer);
    num_said_ = peer.num_said();
    return peer.heard();
  }
  // Status of what comes back; -1 when that is no response.
  int status_of(const std::string& request) {
    const Result<ControlReply> reply = parse_reply(exchange(request));
    return reply.ok() ? reply->status : -1;
  }
  static std::string post(const std::string& body, const std::string& headers = "") {
    return fmt::format("POST /echo HTTP/1.1\r\n{}{}Content-Length: {}\r\n\r\n{}", kAuthorization,
                       headers, body.size(), body);
  }
  static std::string get(const std::string& path, const std::string& headers = "") {
    return fmt::format("GET {} HTTP/1.1\r\n{}{}\r\n", path, kAuthorization, headers);
  }

  // The request with a proof in which `change` may replace something.
  std::string prove(
      const std::string& path, const std::string& body,
      const std::function<void(RequestProof&)>& change = [](RequestProof&) {}) const {
    RequestProof proof = prove_request(key_, {"POST", path, body}, kNonce, kSession);
    change(proof);
    return fmt::format("POST {} HTTP/1.1\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n{}",
                       path, header_of(proof), body.size(), body);
  }

  const std::string kNonce = std::string(32, '7');
  const SecretKey key_ = *SecretKey::parse(std::string(64, 'c'), "key");
  std::vector<std::string> bodies_;
  std::unique_ptr<HttpService> service_;
  bool was_whole_ = false;
  size_t num_said_ = 0;
};

TEST_F(ControlHttp, AnswersWhateverTheSizeOfThePieces) {
  for (const size_t bytes_at_once : {1, 2, 3, 7, 100000}) {
    const Result<ControlReply> reply = parse_reply(exchange(post("{\"a\": 1}"), bytes_at_once));
    ASSERT_TRUE(reply.ok()) << bytes_at_once;
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->body, "[{\"a\": 1}]");
  }
  EXPECT_EQ(bodies_.size(), 5u);
}

TEST_F(ControlHttp, NamesTypeAndCloses) {
  const std::string response = exchange(get("/text?x=1#y"));
  EXPECT_NE(response.find("\r\nContent-Type: text/plain; version=0.0.4\r\n"), std::string::npos);
  EXPECT_NE(response.find("\r\nConnection: close\r\n"), std::string::npos);
  EXPECT_TRUE(response.ends_with("\r\n\r\n0123456789")) << response;
}

TEST_F(ControlHttp, WantsTheToken) {
  const auto request = [](const std::string& headers) {
    return "GET /text HTTP/1.1\r\n" + headers + "\r\n";
  };
  for (const char* good : {"Authorization: Bearer secret\r\n", "AUTHORIZATION:bearer secret\r\n",
                           "authorization: \t Bearer secret  \r\n"}) {
    EXPECT_EQ(status_of(request(good)), 200) << good;
  }
  for (const char* bad : {"", "Authorization: Bearer\r\n", "Authorization: Bearer \r\n",
                          "Authorization: Bearer secre\r\n", "Authorization: Bearer secrets\r\n",
                          "Authorization: Bearer SECRET\r\n", "Authorization: secret\r\n",
                          "Authorization: Basic secret\r\n",
                          "Authorization: Bearer secret\r\nAuthorization: Bearer secret\r\n",
                          "Authorization: Bearer wrong\r\nAuthorization: Bearer secret\r\n",
                          "Proxy-Authorization: Bearer secret\r\n"}) {
    const std::string response = exchange(request(bad));
    EXPECT_TRUE(response.starts_with("HTTP/1.1 401 ")) << bad << response;
    EXPECT_NE(response.find("\r\nWWW-Authenticate: Leasehold\r\n"), std::string::npos) << response;
  }
  // Before anything else: neither paths nor methods are told, and no body is read.
  EXPECT_EQ(status_of("GET /nowhere HTTP/1.1\r\n\r\n"), 401);
  const std::string body(50, 'x');
  exchange("POST /echo HTTP/1.1\r\nContent-Length: 50\r\n\r\n" + body, 1);
  EXPECT_EQ(num_said_, std::string("POST /echo HTTP/1.1\r\nContent-Length: 50\r\n\r\n").size());
  EXPECT_TRUE(bodies_.empty());
}

TEST_F(ControlHttp, ProofsOpenWhatTheTokenDoesNot) {
  EXPECT_EQ(status_of(prove("/locked", "{}")), 200);
  EXPECT_EQ(bodies_, std::vector<std::string>{"{}"});
  EXPECT_EQ(status_of(fmt::format("POST /locked HTTP/1.1\r\n{}\r\n", kAuthorization)), 401);
  EXPECT_EQ(bodies_.size(), 1u);
}

TEST_F(ControlHttp, AnswersToProofsAreProved) {
  for (const char* path : {"/locked", "/echo", "/nowhere", "/text", "/broken"}) {
    const Result<ControlReply> reply = parse_reply(exchange(prove(path, "")));
    ASSERT_TRUE(reply.ok() && reply->proof) << path;
    const AnswerText said = {reply->status, reply->body};
    EXPECT_TRUE(is_proved(key_, said, kNonce, *reply->proof)) << path;
    EXPECT_EQ(reply->proof->session, kSession);
    // To this request, with this status and this body.
    EXPECT_FALSE(is_proved(key_, said, std::string(32, '8'), *reply->proof));
    EXPECT_FALSE(is_proved(key_, {reply->status + 1, reply->body}, kNonce, *reply->proof));
    EXPECT_FALSE(is_proved(key_, {reply->status, reply->body + " "}, kNonce, *reply->proof));
  }
  EXPECT_EQ(exchange(get("/text")).find("Authentication-Info"), std::string::npos);
}

TEST_F(ControlHttp, WrongProofsAreRefusedUnproved) {
  const std::string other(32, '9');
  for (const std::string& request :
       {prove("/locked", "", [&](RequestProof& proof) { proof.nonce = other; }),
        prove("/locked", "", [&](RequestProof& proof) { proof.session = other; }),
        prove("/locked", "", [&](RequestProof& proof) { proof.session = kNoSession; }),
        prove("/locked", "", [](RequestProof& proof) { proof.mac = std::string(64, '0'); }),
        prove("/locked", "", [](RequestProof& proof) { proof.mac.pop_back(); }),
        "PUT" + prove("/locked", "").substr(4), prove("/locked", "a") + "b"}) {
    std::string changed = request;
    if (changed.ends_with("ab")) changed.erase(changed.size() - 2, 1);  // another body
    const Result<ControlReply> reply = parse_reply(exchange(changed));
    ASSERT_TRUE(reply.ok()) << changed;
    EXPECT_EQ(reply->status, 401) << changed;
    EXPECT_FALSE(reply->proof) << changed;
  }
  // Of another path, as the text of the request says.
  std::string moved = prove("/echo", "");
  moved.replace(moved.find("/echo"), 5, "/locked");
  EXPECT_EQ(status_of(moved), 401);
  EXPECT_TRUE(bodies_.empty());
}

TEST_F(ControlHttp, AnotherSessionIsToldThePresentOne) {
  for (const std::string& session : {std::string(kNoSession), std::string(32, '4')}) {
    const RequestProof proof = prove_request(key_, {"POST", "/locked", ""}, kNonce, session);
    const Result<ControlReply> reply = parse_reply(exchange(
        fmt::format("POST /locked HTTP/1.1\r\nAuthorization: {}\r\n\r\n", header_of(proof))));
    ASSERT_TRUE(reply.ok() && reply->proof);
    EXPECT_EQ(reply->status, 401);
    EXPECT_EQ(reply->proof->session, kSession);
    EXPECT_TRUE(is_proved(key_, {reply->status, reply->body}, kNonce, *reply->proof));
  }
  EXPECT_TRUE(bodies_.empty());
}

TEST_F(ControlHttp, ProofsAreReadStrictly) {
  const RequestProof proof = prove_request(key_, {"POST", "/locked", ""}, kNonce, kSession);
  const std::string good = header_of(proof);
  ASSERT_TRUE(parse_request_proof(good));
  for (const std::string& bad :
       {std::string(), std::string("Leasehold"), good + " ", good + " x", " " + good,
        "leasehold" + good.substr(9), good.substr(0, good.size() - 1),
        good.substr(0, good.rfind(' ')), "Leasehold  " + good.substr(10),
        header_of(RequestProof{"", kSession, proof.mac}),
        header_of(RequestProof{kNonce, "", proof.mac}),
        header_of(RequestProof{kNonce, kSession, std::string(64, 'G')})}) {
    EXPECT_FALSE(parse_request_proof(bad)) << bad;
  }
  const std::string answer = header_of(AnswerProof{kSession, proof.mac});
  ASSERT_TRUE(parse_answer_proof(answer));
  EXPECT_FALSE(parse_answer_proof(good));
  EXPECT_FALSE(parse_answer_proof(header_of(AnswerProof{std::string(kNoSession), proof.mac})));
  EXPECT_FALSE(parse_answer_proof(answer.substr(1)));
}

// Closing a connection while bytes of it are unread would reset it.
TEST_F(ControlHttp, TellsWhetherARequestWasReadWhole) {
  exchange(post("x"));
  EXPECT_TRUE(was_whole_);
  exchange(prove("/locked", "{}"));
  EXPECT_TRUE(was_whole_);
  exchange(prove("/locked", std::string(kMaxBody + 1, 'x')));
  EXPECT_FALSE(was_whole_);
  exchange("POST /echo HTTP/1.1\r\nContent-Length: 50\r\n\r\n" + std::string(50, 'x'));
  EXPECT_FALSE(was_whole_);
  exchange("nonsense\r\n\r\n");
  EXPECT_FALSE(was_whole_);
}

TEST_F(ControlHttp, RefusesOtherPathsAndMethods) {
  for (const char* path : {"/", "/tex", "/text/", "/texts", "//text", "/text/../text", "/Text"}) {
    EXPECT_EQ(status_of(get(path)), 404) << path;
  }
  for (const char* method : {"GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"}) {
    const std::string response =
        exchange(fmt::format("{} /echo HTTP/1.1\r\n{}\r\n", method, kAuthorization));
    EXPECT_TRUE(response.starts_with("HTTP/1.1 405 ")) << method;
    EXPECT_NE(response.find("\r\nAllow: POST\r\n"), std::string::npos) << response;
  }
  EXPECT_TRUE(exchange(fmt::format("HEAD /text HTTP/1.1\r\n{}\r\n", kAuthorization))
                  .starts_with("HTTP/1.1 405 "));
  EXPECT_TRUE(bodies_.empty());
}

TEST_F(ControlHttp, RefusesMalformedRequests) {
  const std::string end = std::string("\r\n") + kAuthorization + "\r\n";
  for (const std::string& line :
       {std::string("GET"), std::string("GET /text"), std::string("GET /text HTTP/2.0"),
        std::string("GET /text HTTP/1.1 x"), std::string("BREW /text HTTP/1.1"), std::string(),
        std::string("GET /te\0xt HTTP/1.1", 19), std::string("GET /text\n HTTP/1.1"),
        std::string("\x16\x03\x01\x02")}) {
    EXPECT_EQ(status_of(line + end), 400) << line;
  }
  for (const char* header :
       {"no colon\r\n", ": no name\r\n", "Authorization : Bearer secret\r\n", "X: a\nb\r\n",
        "X: a\rb\r\n", "X: \x01\r\n", "(X): a\r\n", "Content-Length: -1\r\n",
        "Content-Length: 1x\r\n", "Content-Length: 0x10\r\n", "Content-Length: 1, 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n"}) {
    EXPECT_EQ(status_of(fmt::format("POST /echo HTTP/1.1\r\n{}{}\r\nx", kAuthorization, header)),
              400)
        << header;
  }
  EXPECT_TRUE(bodies_.empty());
}

TEST_F(ControlHttp, RefusesHugeRequestsUnread) {
  const std::string head = fmt::format("POST /echo HTTP/1.1\r\n{}Content-Length: ", kAuthorization);
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"101", "413"},
      {"1073741824", "413"},
      {"18446744073709551615", "413"},
      {"18446744073709551616", "400"},
      {"99999999999999999999999999999999", "400"}};
  for (const auto& [length, status] : refused) {
    const std::string whole_head = head + length + "\r\n\r\n";
    EXPECT_TRUE(exchange(whole_head + std::string(1000, 'x'), 1).starts_with("HTTP/1.1 " + status))
        << length;
    EXPECT_EQ(num_said_, whole_head.size());
  }
  EXPECT_EQ(status_of(post(std::string(kMaxBody, 'x'))), 200);
  EXPECT_EQ(bodies_, std::vector<std::string>{std::string(kMaxBody, 'x')});

  // A size that is not told first is not waited for.
  EXPECT_EQ(status_of(fmt::format("POST /echo HTTP/1.1\r\n{}Transfer-Encoding: "
                                  "chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                                  kAuthorization)),
            411);
  EXPECT_EQ(status_of(fmt::format("POST /echo HTTP/1.1\r\n{}\r\nxyz", kAuthorization)), 200);
  EXPECT_EQ(bodies_.back(), "");
}

TEST_F(ControlHttp, RefusesLongHeads) {
  const auto padded = [](size_t size) {
    const std::string start = get("/text", "X: ");
    std::string request = start.substr(0, start.size() - 2);
    return request + std::string(size - request.size() - 4, 'x') + "\r\n\r\n";
  };
  EXPECT_EQ(status_of(padded(kMaxHeadBytes)), 200);
  EXPECT_EQ(status_of(padded(kMaxHeadBytes + 1)), 431);
  EXPECT_EQ(status_of(std::string(100000, 'x')), 431);
  EXPECT_LE(num_said_, 2 * static_cast<size_t>(kMaxHeadBytes));
  std::string many;
  for (int i = 0; i < 100000; ++i) many += "a:\r\n";
  EXPECT_EQ(status_of("GET /text HTTP/1.1\r\n" + many), 431);
  EXPECT_EQ(status_of(get("/" + std::string(8000, '%'))), 404);
}

TEST_F(ControlHttp, HeadersItDoesNotUseAreHarmless) {
  std::string ranges = "Range: bytes=0-0";
  while (ranges.size() < 7000) ranges += ",0-0";
  for (const std::string& headers :
       {ranges + "\r\n", std::string("Range: bytes=2-3\r\n"), std::string("Range: nonsense\r\n"),
        std::string("Accept-Encoding: gzip, br\r\n"), std::string("Connection: keep-alive\r\n"),
        std::string("Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        std::string("Host: a\r\nHost: b\r\n"), std::string("X:\r\nX:\r\n"),
        std::string("X: \xff\xfe\r\n"), std::string("REMOTE_ADDR: 1.2.3.4\r\n")}) {
    const std::string response = exchange(get("/text", headers));
    EXPECT_TRUE(response.starts_with("HTTP/1.1 200 ")) << headers;
    EXPECT_TRUE(response.ends_with("\r\n\r\n0123456789")) << headers;
  }
  // A body is what it is, whatever it is said to be.
  const char* const types[] = {"Content-Encoding: gzip\r\n", "Content-Encoding: br\r\n",
                               "Content-Type: multipart/form-data; boundary=x\r\n",
                               "Content-Type: application/x-www-form-urlencoded\r\n"};
  for (const char* headers : types) {
    const Result<ControlReply> reply = parse_reply(exchange(post("a=b", headers)));
    ASSERT_TRUE(reply.ok()) << headers;
    EXPECT_EQ(reply->body, "[a=b]") << headers;
  }
}

TEST_F(ControlHttp, SaysContinueBeforeTheBody) {
  const std::string response = exchange(post("x", "Expect: 100-continue\r\n"), 1);
  EXPECT_TRUE(response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")) << response;
}

TEST_F(ControlHttp, TellsThatTheTimeIsOver) {
  EXPECT_EQ(status_of("GET /text HT"), 408);
  const std::string request = post("0123456789");
  EXPECT_EQ(status_of(request.substr(0, request.size() - 1)), 408);
  EXPECT_TRUE(bodies_.empty());
  ScriptedPeer gone("", 1, /*stays_silent=*/false);
  service_->serve(gone);
  EXPECT_EQ(gone.heard(), "");
}

TEST_F(ControlHttp, AFailureInsideIsNotTold) {
  const std::string response = exchange(get("/broken"));
  EXPECT_TRUE(response.starts_with("HTTP/1.1 500 "));
  EXPECT_EQ(response.find("a secret"), std::string::npos) << response;
}

TEST_F(ControlHttp, LeavesSignalsAsTheyWere) {
  struct sigaction now = {};
  ASSERT_EQ(sigaction(SIGPIPE, nullptr, &now), 0);
  EXPECT_EQ(now.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace leasehold
