#include "tests/support/test_hub.h"

#include <algorithm>
#include <thread>

#include "store/sha256.h"
#include "tests/support/test_hub_state.h"

namespace lm::test {

TestHub::TestHub() : TestHub(Options{}) {}

TestHub::TestHub(Options options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  if (!state_->options.log.empty()) {
    state_->log.open(state_->options.log, std::ios::app);
  }
  cdn_ = std::make_unique<LoopbackHttp>(
      [this](const ServerRequest& request, Wire& wire) { state_->serve(request, wire, true); });
  hub_ = std::make_unique<LoopbackHttp>(
      [this](const ServerRequest& request, Wire& wire) { state_->serve(request, wire, false); });
  const std::scoped_lock lock(state_->mutex);
  state_->hub_origin = hub_->origin();
  state_->cdn_origin = cdn_->origin();
}

TestHub::~TestHub() = default;

void TestHub::State::snapshot(Repo& repo, const std::string& name) {
  std::string list = name + "\n";
  for (const auto& [path, file] : repo.files) {
    list += path + " " + file.sha256 + "\n";
  }
  repo.commit = store::sha256(list).hex().substr(0, 40);
  repo.snapshots[repo.commit] = repo.files;
}

void TestHub::add_file(const std::string& repo, const std::string& path, std::string content) {
  File file{.content = std::make_shared<Content>(std::move(content)),
            .sha256 = {},
            .lfs = !state_->options.without_lfs && lower(path).ends_with(".gguf")};
  file.sha256 = store::sha256(file.content->bytes()).hex();
  const std::scoped_lock lock(state_->mutex);
  state_->by_sha[file.sha256] = file.content;
  state_->repos[repo].files[path] = std::move(file);
  state_->snapshot(state_->repos[repo], repo);
}

void TestHub::add_folder(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) {
      continue;
    }
    const fs::path relative = fs::relative(entry.path(), folder);
    auto part = relative.begin();
    const std::string user = (part++)->string();
    if (part == relative.end() || std::next(part) == relative.end()) {
      continue;
    }
    const std::string repo = user + "/" + (part++)->string();
    fs::path path;
    for (; part != relative.end(); ++part) {
      path /= *part;
    }
    File file{.content = std::make_shared<Content>(entry.path()),
              .sha256 = {},
              .lfs = lower(path.string()).ends_with(".gguf")};
    file.sha256 = store::sha256(file.content->bytes()).hex();
    const std::scoped_lock lock(state_->mutex);
    state_->by_sha[file.sha256] = file.content;
    state_->repos[repo].files[path.string()] = std::move(file);
    state_->snapshot(state_->repos[repo], repo);
  }
}

void TestHub::set_gated(const std::string& repo, bool token_on_list) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].gated = true;
  state_->repos[repo].token_on_list = token_on_list;
}

void TestHub::set_private(const std::string& repo) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].is_private = true;
}

void TestHub::set_license(const std::string& repo, const std::string& license) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].license = license;
}

void TestHub::set_downloads(const std::string& repo, std::uint64_t downloads) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[repo].downloads = downloads;
}

void TestHub::rename(const std::string& from, const std::string& to) {
  const std::scoped_lock lock(state_->mutex);
  state_->repos[to] = std::move(state_->repos.at(from));
  state_->repos.erase(from);
  state_->renamed[from] = to;
}

void TestHub::add_fault(Fault fault) {
  const std::scoped_lock lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void TestHub::clear_faults() {
  const std::scoped_lock lock(state_->mutex);
  state_->faults.clear();
}

void TestHub::expire_addresses() {
  const std::scoped_lock lock(state_->mutex);
  ++state_->generation;
}

void TestHub::set_address_life(std::chrono::seconds life) {
  const std::scoped_lock lock(state_->mutex);
  state_->address_life = life;
}

std::string TestHub::commit(const std::string& repo) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->repos.at(repo).commit;
}

std::string TestHub::digest_hex(const std::string& repo, const std::string& path) const {
  const std::scoped_lock lock(state_->mutex);
  return state_->repos.at(repo).files.at(path).sha256;
}

std::vector<RequestRecord> TestHub::log() const {
  const std::scoped_lock lock(state_->mutex);
  return state_->records;
}

std::uint64_t TestHub::weight_bytes(const std::string& path) const {
  const std::scoped_lock lock(state_->mutex);
  std::uint64_t sum = 0;
  for (const RequestRecord& record : state_->records) {
    const std::string target = percent_decoded(record.target.substr(0, record.target.find('?')));
    if ((record.status == 200 || record.status == 206) && lower(target).ends_with(".gguf") &&
        target.ends_with(path)) {
      sum += record.body_bytes;
    }
  }
  return sum;
}

void TestHub::clear_log() {
  const std::scoped_lock lock(state_->mutex);
  state_->records.clear();
}

void TestHub::set_bytes_per_second(std::uint64_t limit) {
  const std::scoped_lock lock(state_->mutex);
  state_->options.bytes_per_second = limit;
}

void TestHub::hold_after(std::uint64_t bytes) {
  const std::scoped_lock lock(state_->mutex);
  state_->cdn_bytes = 0;
  state_->hold = bytes;
}

void TestHub::release() {
  const std::scoped_lock lock(state_->mutex);
  state_->hold.reset();
}

bool TestHub::wait_for_weight_bytes(std::uint64_t bytes, std::chrono::milliseconds limit) const {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (weight_bytes() < bytes) {
    if (std::chrono::steady_clock::now() > until) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace lm::test
