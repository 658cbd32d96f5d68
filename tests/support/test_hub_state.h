/// What the test hub is made of inside; for its own source files only.
#pragma once

#include <ctime>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/test_hub.h"

namespace lm::test {

/// Bytes of a file: in memory, or mapped from disk.
class Content {
 public:
  explicit Content(std::string text) : text_(std::move(text)), bytes_(text_) {}
  explicit Content(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const std::uint64_t size = std::filesystem::file_size(path);
    void* at = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) {
      throw std::runtime_error("test hub: can't map " + path.string());
    }
    bytes_ = {static_cast<const char*>(at), static_cast<std::size_t>(size)};
    mapped_ = size > 0;
  }
  Content(const Content&) = delete;
  Content& operator=(const Content&) = delete;
  ~Content() {
    if (mapped_) {
      ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
    }
  }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string text_;
  std::string_view bytes_;
  bool mapped_ = false;
};

struct File {
  std::shared_ptr<Content> content;
  std::string sha256;
  bool lfs = false;
};
using Snapshot = std::map<std::string, File>;

struct Range {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;  // one past
};

/// What is sent: head and the part of a body, or a small text.
struct Answer {
  int status = 200;
  std::map<std::string, std::string> headers = {};
  std::string text = {};
  std::shared_ptr<Content> content = {};
  Range range = {};
};

/// An error as the hub words it.
Answer error_answer(int status, const std::string& code, const std::string& message);
std::string lower(std::string text);

struct TestHub::Repo {
  Snapshot files;
  std::string commit;
  std::map<std::string, Snapshot> snapshots;
  bool gated = false;
  bool token_on_list = false;
  bool is_private = false;
  std::string license;
  std::uint64_t downloads = 0;
};

struct TestHub::State {
  Options options;
  mutable std::mutex mutex;  // guards everything below
  std::map<std::string, Repo> repos;
  std::map<std::string, std::string> renamed;
  std::map<std::string, std::shared_ptr<Content>> by_sha;
  std::map<std::string, std::string> manifests;  ///< "library/tiny:latest" -> bytes
  std::vector<Fault> faults;
  std::vector<RequestRecord> records;
  std::uint64_t generation = 0;
  std::chrono::seconds address_life{3600};
  std::uint64_t cdn_bytes = 0;             ///< of bodies, sent
  std::optional<std::uint64_t> hold = {};  ///< no more than that
  std::chrono::steady_clock::time_point next_free = std::chrono::steady_clock::now();
  std::ofstream log;
  std::string hub_origin;
  std::string cdn_origin;

  void serve(const ServerRequest& request, Wire& wire, bool cdn);
  Answer answer_hub(const ServerRequest& request);
  Answer answer_api(const ServerRequest& request, const std::string& rest);
  Answer answer_resolve(const ServerRequest& request, const std::string& repo_name,
                        const std::string& revision, const std::string& path);
  Answer answer_cdn(const ServerRequest& request);
  Answer search(const ServerRequest& request) const;
  Answer answer_raw(const Repo& repo, const std::string& rest) const;
  Answer answer_registry(const ServerRequest& request);
  Answer tree(const ServerRequest& request, const std::string& name, const Repo& repo,
              const Snapshot& files, const std::string& commit);
  void with_range(Answer& answer, const ServerRequest& request,
                  const std::shared_ptr<Content>& content);
  std::optional<Fault> take_fault(const ServerRequest& request, bool cdn);
  bool pay(std::uint64_t bytes, Wire& wire);
  bool pass(std::uint64_t bytes, Wire& wire);
  void snapshot(Repo& repo, const std::string& name);
  const Snapshot* find(const Repo& repo, const std::string& revision, std::string& commit) const;
  bool token_ok(const ServerRequest& request) const {
    return !options.token.empty() && request.header("authorization") == "Bearer " + options.token;
  }
};

}  // namespace lm::test
