#include "backends/cpu/roofs.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include <fmt/format.h>
#include <sys/mman.h>

#include "backends/cpu/kernels/roof.h"
#include "backends/host_memory.h"

namespace lm::cpu {
namespace {

using Clock = std::chrono::steady_clock;

const RoofKernels& roof_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512vnni) {
    return roof_avx512vnni;
  }
  if (isa >= Isa::avx512) {
    return roof_avx512;
  }
  if (isa >= Isa::avx2) {
    return roof_avx2;
  }
#elif defined(__aarch64__)
  if (isa >= Isa::i8mm) {
    return roof_i8mm;
  }
  if (isa >= Isa::dotprod) {
    return roof_dotprod;
  }
#endif
  static_cast<void>(isa);
  return roof_baseline;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Where results of measured loops end, so that no loop is without effect.
volatile std::uint64_t sink = 0;

/// Runs `item(thread's share)` on every thread at once; the seconds it took.
template <class Item>
double on_all_threads(ThreadPool& pool, const Item& item) {
  const std::atomic<bool> never{false};
  const auto call = [](const void* context, std::uint32_t index, std::uint32_t) {
    (*static_cast<const Item*>(context))(index);
  };
  const auto begin = Clock::now();
  pool.run(pool.size(), call, &item, never);
  return seconds_since(begin);
}

/// Operations a second of the best of many short runs: between two turns of other processes there
/// is room for one, and the first ones bring the clock up.
double compute_roof(ThreadPool& pool, float (*loop)(std::uint64_t), std::uint64_t ops_a_round) {
  constexpr double kSeconds = 0.003;
  constexpr int kRuns = 50;
  std::uint64_t rounds = 1'000;
  auto begin = Clock::now();
  sink = sink + static_cast<std::uint64_t>(loop(rounds));
  double took = seconds_since(begin);
  while (took < kSeconds / 8) {
    rounds *= 4;
    begin = Clock::now();
    sink = sink + static_cast<std::uint64_t>(loop(rounds));
    took = seconds_since(begin);
  }
  rounds = static_cast<std::uint64_t>(static_cast<double>(rounds) * kSeconds / took);
  double best = 0.0;
  for (int i = 0; i < kRuns; ++i) {
    const double seconds = on_all_threads(pool, [&](std::uint32_t) {
      const float result = loop(rounds);
      if (result == -1.0f) {
        sink = 1;
      }
    });
    const double ops = static_cast<double>(rounds) * static_cast<double>(ops_a_round) * pool.size();
    best = std::max(best, ops / seconds);
  }
  return best;
}

struct Unmap {
  std::uint64_t bytes;
  void operator()(std::byte* data) const { munmap(data, bytes); }
};

void memory_roofs(ThreadPool& pool, const RoofKernels& kernels, Roofs& roofs) {
  constexpr std::uint64_t kLeast = 256u << 20;
  constexpr std::uint64_t kMost = 2u << 30;
  constexpr std::uint64_t kGrain = 64u << 10;
  const std::uint64_t wanted = std::clamp(3 * last_cache_bytes(), kLeast, kMost);
  if (host_memory().free_bytes / 4 < wanted) {
    return;  // what fits would be read from the cache
  }
  const std::uint64_t share = wanted / pool.size() / kGrain * kGrain;
  const std::uint64_t bytes = share * pool.size();
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED || share == 0) {
    return;
  }
  const std::unique_ptr<std::byte, Unmap> memory(static_cast<std::byte*>(data), Unmap{bytes});
  madvise(data, bytes, MADV_HUGEPAGE);
  // Each thread writes what it will read: its own node's memory where there are several.
  on_all_threads(pool, [&](std::uint32_t i) { std::memset(memory.get() + i * share, 1, share); });
  const auto best_rate = [&](std::uint64_t (*read)(const std::byte*, std::uint64_t)) {
    constexpr double kSeconds = 0.2;
    constexpr int kPasses = 20;
    double best = 0.0;
    const auto begin = Clock::now();
    for (int pass = 0; pass < kPasses && (pass < 2 || seconds_since(begin) < kSeconds); ++pass) {
      const double seconds = on_all_threads(pool, [&](std::uint32_t i) {
        const std::uint64_t sum = read(memory.get() + i * share, share);
        if (sum == 0) {
          sink = 1;
        }
      });
      best = std::max(best, static_cast<double>(bytes) / seconds);
    }
    return best;
  };
  roofs.read_1 = best_rate(kernels.read_1);
  roofs.read_8 = best_rate(kernels.read_8);
}

std::string first_line(const std::filesystem::path& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

/// "32768K" as bytes; 0 for what is no size.
std::uint64_t cache_size(const std::string& text) {
  std::uint64_t value = 0;
  std::size_t i = 0;
  for (; i < text.size() && i < 12 && text[i] >= '0' && text[i] <= '9'; ++i) {
    value = value * 10 + static_cast<std::uint64_t>(text[i] - '0');
  }
  const char unit = i < text.size() ? text[i] : ' ';
  return unit == 'M' ? value << 20 : unit == 'K' ? value << 10 : value;
}

}  // namespace

std::uint64_t last_cache_bytes(const std::filesystem::path& sysfs) {
  std::set<std::string> seen;
  std::uint64_t total = 0;
  for (unsigned cpu = 0; cpu < 4096; ++cpu) {
    const auto caches = sysfs / fmt::format("devices/system/cpu/cpu{}/cache", cpu);
    std::error_code error;
    if (!std::filesystem::is_directory(caches, error)) {
      break;
    }
    std::filesystem::path last;
    std::string level = "0";
    for (unsigned index = 0; index < 8; ++index) {
      const auto cache = caches / fmt::format("index{}", index);
      if (const std::string found = first_line(cache / "level"); found > level) {
        level = found;
        last = cache;
      }
    }
    if (!last.empty() && seen.insert(first_line(last / "shared_cpu_list")).second) {
      total += cache_size(first_line(last / "size"));
    }
  }
  return total;
}

Roofs measure_roofs(Isa isa, ThreadPool& pool) {
  const RoofKernels& kernels = roof_kernels(isa);
  Roofs roofs;
  roofs.n_thread = pool.size();
  roofs.isa = isa_name(isa);
  roofs.f32_flops = compute_roof(pool, kernels.f32_fmas, kernels.f32_ops_a_round);
  roofs.int8_ops = compute_roof(pool, kernels.int8_dots, kernels.int8_ops_a_round);
  memory_roofs(pool, kernels, roofs);
  return roofs;
}

}  // namespace lm::cpu
