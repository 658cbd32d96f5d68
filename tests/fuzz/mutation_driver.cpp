#include "tests/fuzz/mutation_driver.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/fuzz/mutator.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LM_FUZZ_SANITIZED 1
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#else
#define LM_FUZZ_SANITIZED 0
#endif

namespace lm::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDefaultRuns = 100'000;
constexpr std::size_t kMaxKept = 4'096;
constexpr rlim_t kMemoryBytes = 256u << 20;
constexpr time_t kSeconds = LM_FUZZ_SANITIZED ? 30 : 2;

// What the signal handler writes down: the input that is running.
const std::uint8_t* current_data = nullptr;
std::size_t current_size = 0;
char crash_path[256] = "crash";

/// Only calls what POSIX allows in a signal handler.
void save_current_input() {
  const int fd = ::open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) {
    return;
  }
  std::size_t written = 0;
  while (written < current_size) {
    const ssize_t n = ::write(fd, current_data + written, current_size - written);
    if (n <= 0) {
      break;
    }
    written += static_cast<std::size_t>(n);
  }
  ::close(fd);
  constexpr std::string_view kText = "fuzz: the input is in ";
  [[maybe_unused]] ssize_t ignored = ::write(STDERR_FILENO, kText.data(), kText.size());
  ignored = ::write(STDERR_FILENO, crash_path, std::strlen(crash_path));
  ignored = ::write(STDERR_FILENO, "\n", 1);
}

extern "C" void on_fatal_signal(int number) {
  save_current_input();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

void watch_for_findings(const char* name) {
  std::snprintf(crash_path, sizeof(crash_path), "crash-%s", name);
  for (const int number : {SIGABRT, SIGFPE, SIGILL, SIGPROF}) {
    std::signal(number, on_fatal_signal);
  }
#if LM_FUZZ_SANITIZED
  __sanitizer_set_death_callback(save_current_input);
#else
  for (const int number : {SIGSEGV, SIGBUS}) {
    std::signal(number, on_fatal_signal);
  }
  // A sanitizer's shadow memory does not fit such a limit, a plain program does.
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  if (statm >> pages) {
    const rlim_t bytes = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + kMemoryBytes;
    const rlimit limit = {bytes, bytes};
    ::setrlimit(RLIMIT_AS, &limit);
  }
#endif
}

void run_one(const Target& target, const Input& mutated) {
  const Input input(mutated);  // without spare capacity, in which a read past the end would hide
  current_data = input.data();
  current_size = input.size();
  // Processor time, so that a busy machine does not look like a hang.
  const itimerval limit = {{0, 0}, {kSeconds, 0}};
  ::setitimer(ITIMER_PROF, &limit, nullptr);
  target.entry(input.data(), input.size());
}

Input read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<Input> read_corpus(const char* folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_regular_file()) {
      paths.push_back(entry.path());
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Input> inputs;
  for (const fs::path& path : paths) {
    inputs.push_back(read_file(path));
  }
  return inputs;
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

/// Mutates seeds and, now and then, keeps a mutation as the base of further ones: without coverage
/// this is how changes add up.
void mutate(const Target& target, std::uint64_t runs, std::uint64_t seed) {
  std::vector<Input> inputs = read_corpus(target.corpus);
  std::printf("fuzz %s: %zu seeds, %llu mutations, seed %llu\n", target.name, inputs.size(),
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  for (const Input& input : inputs) {
    run_one(target, input);
  }
  inputs.emplace_back();
  run_one(target, inputs.back());

  const Input dictionary = read_file(target.dictionary);
  const Mutator mutator(parse_dictionary({dictionary.begin(), dictionary.end()}), target.max_bytes);
  Random random(seed);
  const std::size_t n_seeds = inputs.size();
  for (std::uint64_t i = 0; i < runs; ++i) {
    // Half of all mutations start from a seed itself.
    const std::size_t base = random.below(random.below(2) == 0 ? n_seeds : inputs.size());
    Input input = mutator.mutate(inputs[base], inputs[random.below(inputs.size())], random);
    run_one(target, input);
    if (random.below(16) == 0) {
      if (inputs.size() < kMaxKept) {
        inputs.push_back(std::move(input));
      } else {
        inputs[n_seeds + random.below(kMaxKept - n_seeds)] = std::move(input);
      }
    }
  }
}

}  // namespace

int drive(const Target& target, int argc, char** argv) {
  watch_for_findings(target.name);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.empty() || parse_count(arguments[0])) {
    const std::optional<std::uint64_t> seed = arguments.size() > 1 ? parse_count(arguments[1]) : 1;
    if (arguments.size() > 2 || !seed) {
      std::fprintf(stderr, "usage: %s [RUNS [SEED]] | FILE...\n", argv[0]);
      return 2;
    }
    mutate(target, arguments.empty() ? kDefaultRuns : *parse_count(arguments[0]), *seed);
  } else {
    for (const std::string& path : arguments) {
      std::error_code error;
      if (!fs::is_regular_file(path, error)) {
        std::fprintf(stderr, "fuzz: %s is not a file\n", path.c_str());
        return 2;
      }
      run_one(target, read_file(path));
      std::printf("fuzz %s: %s passed\n", target.name, path.c_str());
    }
  }
  return 0;
}

}  // namespace lm::fuzz
