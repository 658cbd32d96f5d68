/// A hub for tests: the API and the CDN of hub-protocol.md on two loopback ports, with counters and
/// faults to order.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/support/loopback_http.h"

namespace lm::test {

/// One answer as it went over the wire.
struct RequestRecord {
  bool cdn = false;
  std::string method;
  std::string target;
  std::string range;        ///< of the request; empty without one
  bool authorized = false;  ///< an Authorization field was there
  int status = 0;
  std::uint64_t body_bytes = 0;  ///< handed to the socket
};

/// A deviation, applied to the next `times` requests whose target contains `target` (empty: all).
struct Fault {
  enum class Kind {
    status,        ///< answers `status` with `headers` and `body`
    stall,         ///< stops sending after `after_bytes` of the body, holds the connection
    reset,         ///< TCP reset after `after_bytes`
    close,         ///< orderly end after `after_bytes`, before the promised length
    ignore_range,  ///< 200 with the whole file
    short_range,   ///< 206 for the first `after_bytes` of the range, rightly labelled
    wrong_range,   ///< 206 whose Content-Range begins elsewhere
    wrong_total,   ///< 206 whose Content-Range names another size
    corrupt,       ///< one byte of the body at `after_bytes` (of the answer) is flipped
    web_page,      ///< 200 with HTML
    headers,       ///< `headers` replace the answer's own; Content-Length too
    long_body,     ///< 64 KiB more than the range, and a Content-Length that says so
    late_rest,     ///< a Content-Length of `after_bytes`, so many bytes, and after a pause the rest
    drip,          ///< a KiB at a time, with pauses
    garbage,       ///< bytes that are no HTTP, then the end
    linked_etag,   ///< resolve names another X-Linked-ETag
    linked_size,   ///< resolve names another X-Linked-Size
  };
  Kind kind = Kind::status;
  int times = 1;
  bool cdn = true;  ///< on the CDN's port, else on the hub's
  std::string target = {};
  std::uint64_t after_bytes = 0;
  int status = 503;
  std::map<std::string, std::string> headers = {};
  std::string body = {};
};

class TestHub {
 public:
  struct Options {
    std::string token = {};              ///< the one valid token; empty: none is valid
    std::uint64_t bytes_per_second = 0;  ///< of all bodies together; 0: no limit
    std::size_t page_entries = 1000;     ///< of the tree
    bool name_the_real_hub =
        false;                   ///< Link and Location say https://huggingface.co, as mirrors' do
    bool without_cdn = false;    ///< resolve serves the bytes itself
    bool refuse_head = false;    ///< 405
    bool without_lfs = false;    ///< weights lie in git itself: no SHA-256 is announced
    bool ignore_ranges = false;  ///< 200 with the whole file, always
    std::string registry_token =
        {};  ///< what /v2 wants as bearer and /token gives out; empty: /v2 wants none
    std::string registry_realm = {};  ///< of the challenge instead of /token
    std::filesystem::path log = {};   ///< one line a request
  };
  TestHub();
  explicit TestHub(Options options);
  ~TestHub();

  /// Adds or replaces a file; the repository's commit changes, older commits stay to be had.
  void add_file(const std::string& repo, const std::string& path, std::string content);
  /// Every folder/<user>/<repo>/<files>, read from disk when asked for.
  void add_folder(const std::filesystem::path& folder);
  /// Adds a blob of the registry (/v2) and returns its digest, "sha256:...".
  std::string add_blob(std::string content);
  /// Adds or replaces a model of the registry: its layers as (media type behind
  /// "application/vnd.ollama.image.", bytes). Returns the manifest's JSON.
  nlohmann::json add_registry_model(const std::string& name, const std::string& tag,
                                    const std::vector<std::pair<std::string, std::string>>& layers);
  /// Any bytes as the manifest of `name`:`tag`.
  void set_manifest(const std::string& name, const std::string& tag, std::string bytes);
  void remove_blob(const std::string& digest);
  void set_gated(const std::string& repo, bool token_on_list);
  void set_private(const std::string& repo);
  void set_license(const std::string& repo, const std::string& license);
  void set_downloads(const std::string& repo, std::uint64_t downloads);
  void rename(const std::string& from, const std::string& to);
  void add_fault(Fault fault);
  void clear_faults();
  /// Signed addresses handed out so far answer 403 from here on.
  void expire_addresses();
  /// Life of the signed addresses handed out from here on, as their Expires says.
  void set_address_life(std::chrono::seconds life);

  std::string endpoint() const { return hub_->origin(); }
  std::string cdn_origin() const { return cdn_->origin(); }
  std::string commit(const std::string& repo) const;
  std::string digest_hex(const std::string& repo, const std::string& path) const;
  std::vector<RequestRecord> log() const;
  /// Body bytes of weights sent for files whose path ends in `path` (empty: all).
  std::uint64_t weight_bytes(const std::string& path = {}) const;
  int connections_most() const { return cdn_->connections_most(); }
  void clear_log();
  void set_bytes_per_second(std::uint64_t limit);
  /// Stops sending once so many body bytes left the CDN in all; who waits for more waits until
  /// `release`.
  void hold_after(std::uint64_t bytes);
  void release();
  /// Waits until so many body bytes of weights went out; false after `limit`.
  bool wait_for_weight_bytes(std::uint64_t bytes, std::chrono::milliseconds limit) const;

 private:
  struct Repo;
  struct State;
  std::unique_ptr<State> state_;
  std::unique_ptr<LoopbackHttp> cdn_;
  std::unique_ptr<LoopbackHttp> hub_;
};

}  // namespace lm::test
