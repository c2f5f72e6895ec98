// Answers one HTTP request made of untrusted bytes. The head is read whole, up to a limit, and
// given to Boost.Beast's parser. A body is read only where the head has the form of a proof or the
// scraper's token, and up to its limit; what was asked is looked at only once it is proved.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/mac.h"
#include "runtime/base/status.h"

namespace leasehold {

// Request line and headers together.
inline constexpr int64_t kMaxHeadBytes = 8 << 10;

struct HttpResponse {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
};
HttpResponse refusal(int status, const std::string& message);  // as {"error": message}

struct HttpRoute {
  std::string method;  // "GET" or "POST"
  std::string path;    // compared as it is: no escapes are decoded
  std::function<HttpResponse(const std::string& body)> answer;  // any thread
  bool for_scraper = false;                                     // opens with the token, too
};

// Secrets by which a service and its clients know each other (control_proof.h).
struct HttpSecrets {
  SecretKey key;
  std::string session;        // of this server: make_nonce()
  std::string scraper_token;  // "": none is taken
};

// The connection, as the service sees it.
class HttpPeer {
 public:
  virtual ~HttpPeer() = default;
  // At least one byte, or 0 when the peer has closed; an error ends the exchange.
  virtual Result<size_t> receive(char* buffer, size_t size) = 0;
  virtual Status send(std::string_view bytes) = 0;
};

class HttpService {
 public:
  // `max_body_bytes` limits a request's body.
  static std::unique_ptr<HttpService> create(std::vector<HttpRoute> routes, HttpSecrets secrets,
                                             int64_t max_body_bytes);
  virtual ~HttpService() = default;
  // Serves one request, then the connection is to be closed. Several threads at a time. Returns
  // true when all of the request was read: the connection can be closed without a reset, in which
  // the answer might be lost.
  virtual bool serve(HttpPeer& peer) const = 0;
};

}  // namespace leasehold
