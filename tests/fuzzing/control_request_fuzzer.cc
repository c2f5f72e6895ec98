// Fuzzes the control channel with any bytes: the bodies of reports, answers and drains, a response,
// proofs, and a whole request to a service whose scraper has the token "t".
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "launch/supervisor/control_client.h"
#include "launch/supervisor/control_http.h"
#include "launch/supervisor/control_protocol.h"
#include "tests/fuzzing/require.h"

namespace leasehold {

namespace {

constexpr int64_t kMaxBody = 64;

void try_bodies(std::string_view text) {
  const Result<Report> report = parse_report(text);
  if (report.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(report->generation >= 0 && report->rank >= 0 && report->pid > 0);
    LEASEHOLD_FUZZ_REQUIRE(report->step >= 0 && report->committed_step >= -1);
    LEASEHOLD_FUZZ_REQUIRE(report->durable_step >= -1);
    LEASEHOLD_FUZZ_REQUIRE(report->step_time_s >= 0 && report->save_time_s >= 0);
    LEASEHOLD_FUZZ_REQUIRE(report->node.find_first_of(" /\"'$;\n") == std::string::npos);
    const Result<Report> again = parse_report(to_json(*report));
    LEASEHOLD_FUZZ_REQUIRE(again.ok() && *again == *report);
  } else {
    LEASEHOLD_FUZZ_REQUIRE(report.status().code() == Code::kBadData);
  }
  const Result<Answer> answer = parse_answer(text);
  if (answer.ok()) {
    LEASEHOLD_FUZZ_REQUIRE(*parse_answer(to_json(*answer)) == *answer);
  }
  const Result<std::string> reason = parse_drain(text);
  if (reason.ok()) LEASEHOLD_FUZZ_REQUIRE(*parse_drain(drain_to_json(*reason)) == *reason);
  const std::string said = parse_error(text, "?");
  LEASEHOLD_FUZZ_REQUIRE(said == "?" || parse_error(error_to_json(said), "?") == said);
  const std::optional<int64_t> present = parse_fence(text);
  LEASEHOLD_FUZZ_REQUIRE(!present ||
                         parse_fence(fence_to_json(parse_error(text, ""), *present)) == present);
  const auto request = parse_request_proof(text);
  LEASEHOLD_FUZZ_REQUIRE(!request || header_of(*request) == text);
  const auto reply = parse_answer_proof(text);
  LEASEHOLD_FUZZ_REQUIRE(!reply || header_of(*reply) == text);
}

void try_reply(std::string_view text) {
  const Result<ControlReply> reply = parse_reply(text);
  if (!reply.ok()) return;
  LEASEHOLD_FUZZ_REQUIRE(reply->status >= 100 && reply->status <= 999);
  LEASEHOLD_FUZZ_REQUIRE(text.ends_with(reply->body));
}

class FuzzedPeer : public HttpPeer {
 public:
  explicit FuzzedPeer(std::string_view says) : says_(says) {}
  Result<size_t> receive(char* buffer, size_t size) override {
    const size_t count = says_.copy(buffer, size, said_);
    said_ += count;
    return count;
  }
  Status send(std::string_view bytes) override {
    heard_ += bytes;
    return ok_status();
  }
  const std::string& heard() const { return heard_; }

 private:
  std::string_view says_;
  size_t said_ = 0;
  std::string heard_;
};

void try_request(std::string_view text) {
  // Made once: a whole library backs each service.
  static bool was_asked = false;
  static const std::unique_ptr<HttpService> service =
      HttpService::create({{"POST", "/echo",
                            [](const std::string& body) {
                              was_asked = true;
                              LEASEHOLD_FUZZ_REQUIRE(std::ssize(body) <= kMaxBody);
                              return HttpResponse{200, body};
                            },
                            /*for_scraper=*/true},
                           {"GET", "/get",
                            [](const std::string&) {
                              was_asked = true;
                              return HttpResponse{200, "{}"};
                            },
                            /*for_scraper=*/true}},
                          {SecretKey(), std::string(32, '0'), "t"}, kMaxBody);
  was_asked = false;
  FuzzedPeer peer(text);
  service->serve(peer);
  std::string_view heard = peer.heard();
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  if (heard.starts_with(kContinue)) heard.remove_prefix(kContinue.size());
  if (heard.empty()) {
    LEASEHOLD_FUZZ_REQUIRE(!was_asked);
    return;
  }
  if (text.starts_with("HEAD ")) {  // its answer has no body, although it tells the body's length
    LEASEHOLD_FUZZ_REQUIRE(!was_asked && heard.starts_with("HTTP/1.1 4"));
    return;
  }
  const Result<ControlReply> reply = parse_reply(heard);
  LEASEHOLD_FUZZ_REQUIRE(reply.ok());
  LEASEHOLD_FUZZ_REQUIRE(was_asked == (reply->status == 200));
  LEASEHOLD_FUZZ_REQUIRE(!was_asked || text.find('t') != std::string_view::npos);
}

}  // namespace

}  // namespace leasehold

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  leasehold::try_bodies(text);
  leasehold::try_reply(text);
  leasehold::try_request(text);
  return 0;
}
