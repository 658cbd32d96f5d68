#include "tests/crash/sandbox.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lm::crash {
namespace {

/// In memory where there is such a place: what an fsync does to a disk is the file system's to
/// prove.
fs::path scratch_base() {
  if (const char* chosen = std::getenv("LM_TEST_TMP")) {
    return chosen;
  }
  return ::access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
}

fs::path new_folder() {
  std::string pattern = (fs::canonical(scratch_base()) / "lm-crash-XXXXXX").native();
  if (::mkdtemp(pattern.data()) == nullptr) {
    throw std::runtime_error("mkdtemp " + pattern + ": " + std::strerror(errno));
  }
  return pattern;
}

/// A control page in a file beside the sandbox.
class MappedPage {
 public:
  explicit MappedPage(fs::path path) : path_(std::move(path)) {
    const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(ControlPage)) != 0) {
      throw std::runtime_error("can't make " + path_.native());
    }
    void* mapped = ::mmap(nullptr, sizeof(ControlPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (mapped == MAP_FAILED) {
      throw std::runtime_error("can't map " + path_.native());
    }
    page_ = new (mapped) ControlPage;
  }
  ~MappedPage() {
    ::munmap(page_, sizeof(ControlPage));
    ::unlink(path_.c_str());
  }
  MappedPage(const MappedPage&) = delete;
  MappedPage& operator=(const MappedPage&) = delete;

  ControlPage* operator->() const { return page_; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  ControlPage* page_ = nullptr;
};

template <std::size_t size>
void set_text(char (&to)[size], const std::string& text) {
  if (text.size() >= sizeof to) {
    throw std::runtime_error("text too long: " + text);
  }
  std::memcpy(to, text.c_str(), text.size() + 1);
}

}  // namespace

Sandbox::Sandbox() : outer_(new_folder()), root_(outer_ / "root") {
  fs::create_directories(src());
}

Sandbox::Sandbox(const Sandbox& other) : outer_(new_folder()), root_(outer_ / "root") {
  fs::copy(other.root_, root_, fs::copy_options::recursive);
}

Sandbox::~Sandbox() {
  std::error_code ignored;
  if (std::getenv("LM_CRASH_KEEP") == nullptr) {
    fs::remove_all(outer_, ignored);
  }
}

void Sandbox::replace_by(const fs::path& image) {
  fs::remove_all(root_);
  fs::rename(image, root_);
}

void write_file(const fs::path& path, std::string_view text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

std::string read_file(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

test::TestHub& hub() {
  static test::TestHub hub;
  return hub;
}

test::Environment environment_of(const Sandbox& sandbox) {
  return {{"PATH", "/usr/bin:/bin"},
          {"HOME", (sandbox.root() / "user").native()},
          {"LM_HOME", sandbox.store().native()},
          {"HF_ENDPOINT", hub().endpoint()},
          {"LC_ALL", "C.UTF-8"}};
}

std::vector<std::string> command_line(const std::vector<std::string>& words) {
  std::vector<std::string> line{std::string(LM_BINARY_DIR) + "/lm"};
  line.insert(line.end(), words.begin(), words.end());
  return line;
}

test::Finished run_lm(const Sandbox& sandbox, const std::vector<std::string>& words) {
  return test::run_process(command_line(words), environment_of(sandbox));
}

Outcome run_lm(const Sandbox& sandbox, const std::vector<std::string>& words, const Plan& plan) {
  const MappedPage page(sandbox.root().parent_path() / "page");
  page->counted = plan.counted;
  page->fault = plan.fault;
  page->at = plan.at;
  page->error = plan.error;
  set_text(page->root, sandbox.root().native());
  set_text(page->log_path, plan.log.native());
  set_text(page->only, plan.only);
  test::Environment environment = environment_of(sandbox);
  environment["LD_PRELOAD"] = LM_CRASH_PRELOAD;
  environment[kPageVariable] = page.path().native();
  Outcome outcome;
  outcome.process = test::run_process(command_line(words), environment);
  outcome.calls = page->calls.load();
  outcome.hits = page->hits.load();
  outcome.hit = page->hit;
  return outcome;
}

}  // namespace lm::crash
