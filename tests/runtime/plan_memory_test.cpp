// What a plan says against what the kernel says: anonymous memory of a process that has filled its
// context, and the mapped weights that it holds.
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/engine/loader.h"
#include "tests/golden/golden.h"

namespace lm {
namespace LM_FILE {

constexpr double kMiB = 1 << 20;

double mib(std::uint64_t bytes) {
  return static_cast<double>(bytes) / kMiB;
}

/// A line of /proc/self/status in bytes.
std::uint64_t status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(name + ":")) {
      return std::stoull(line.substr(name.size() + 1)) * 1024;
    }
  }
  return 0;
}

/// Resident bytes of the mappings of one file.
std::uint64_t resident_of(const std::string& path) {
  std::ifstream file("/proc/self/smaps");
  std::string line;
  bool of_file = false;
  std::uint64_t bytes = 0;
  while (std::getline(file, line)) {
    if (line.find('-') < line.find(' ') && line.find(':') > line.find(' ')) {
      of_file = line.ends_with(path);
    } else if (of_file && line.starts_with("Rss:")) {
      bytes += std::stoull(line.substr(4)) * 1024;
    }
  }
  return bytes;
}

struct Figures {
  std::uint64_t planned = 0, taken = 0;  ///< anonymous memory
  std::uint64_t weights = 0, mapped = 0;
};

/// In a process of its own: loads, fills the context, and compares.
Figures measure(const std::string& name, std::uint32_t n_ctx, DType kv_type) {
  Figures figures;
  const std::string path = golden::data_dir() / "arch" / (name + ".gguf");
  auto opened = GgufFile::open(path);
  if (!opened) {
    return figures;
  }
  const auto file = std::make_shared<const GgufFile>(std::move(*opened));
  const auto shape = ModelShape::read(*file);
  const std::shared_ptr<Backend> cpu = make_cpu_backend({.n_threads = 2, .isa_limit = {}});
  const std::vector<PlanDevice> devices{plan_device(cpu)};
  const auto plan = plan_load(*shape, devices, {.n_ctx = n_ctx, .kv_type = kv_type});
  if (!plan) {
    return figures;
  }
  const DeviceBytes& bytes = plan->bytes[0];
  figures.planned = bytes.kv + bytes.arena + bytes.scratch;
  figures.weights = bytes.weights;
  malloc_trim(0);
  const std::uint64_t before = status("RssAnon");
  LoadWish wish;
  wish.session.n_ctx = n_ctx;
  wish.session.kv_type = kv_type;
  wish.need_tokenizer = false;
  std::unique_ptr<Session> session;
  const auto loaded = load_planned(
      file, {cpu}, wish,
      [&](std::shared_ptr<const Model> model, const SessionOptions& placed) -> Result<void> {
        LM_TRY(session, Session::create(std::move(model), placed));
        return {};
      });
  if (!loaded) {
    return figures;
  }
  auto sequence = session->new_sequence();
  std::vector<Token> tokens(n_ctx);
  for (std::uint32_t i = 0; i < n_ctx; ++i) {
    tokens[i] = static_cast<Token>(i * 31 % session->model().n_vocab());
  }
  const StopFlag go{false};
  std::vector<float> logits;
  if (!session->evaluate(**sequence, tokens, false, go, logits)) {
    return figures;
  }
  logits = {};
  tokens = {};
  malloc_trim(0);
  figures.taken = status("RssAnon") - before;
  figures.mapped = resident_of(path);
  return figures;
}

Figures measure_apart(const std::string& name, std::uint32_t n_ctx, DType kv_type) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    const Figures figures = measure(name, n_ctx, kv_type);
    const bool told = write(ends[1], &figures, sizeof figures) == sizeof figures;
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  Figures figures;
  EXPECT_EQ(read(ends[0], &figures, sizeof figures), static_cast<ssize_t>(sizeof figures));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0) << name;
  return figures;
}

TEST(PlanMemory, IsWhatTheSystemSays) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers keep memory of their own";
#endif
  // Attention with few and many heads of KV, windows, experts, recurrent layers, one latent vector.
  for (const std::string name : {"llama-gqa", "gemma3", "qwen3moe", "lfm2", "deepseek2"}) {
    for (const std::uint32_t n_ctx : {1024u, 4096u, 8192u}) {
      for (const DType kv_type : {DType::f16, DType::f32}) {
        const Figures f = measure_apart(name, n_ctx, kv_type);
        ASSERT_GT(f.taken, 0u) << name;
        const double off = mib(f.taken) - mib(f.planned);
        std::printf("%s %u %s: %.1f MiB planned, %.1f taken; weights %.1f, mapped %.1f\n",
                    name.c_str(), n_ctx, layout(kv_type).name, mib(f.planned), mib(f.taken),
                    mib(f.weights), mib(f.mapped));
        // Names, tables and what the heap keeps are a megabyte or two, whatever the model.
        EXPECT_LT(std::abs(off), 0.02 * mib(f.planned) + 3);
        EXPECT_GE(mib(f.mapped) + 0.1, mib(f.weights));
        EXPECT_LE(mib(f.mapped), mib(f.weights) + 1);
      }
    }
  }
}

}  // namespace LM_FILE
}  // namespace lm
