// Speed of the CPU's matmul kernels on the shapes of llama-3.2-1b: GB/s of weights and TOP/s,
// beside the rate at which this machine can read memory, measured in the same run. Weights are
// walked tensor by tensor through more memory than any cache, as decode does.
//
//   lm_matmul_bench [--type Q4_K,...] [--rows N,...] [--threads N] [--isa NAME] [--reps N] [--shape
//   K:N_OUT]

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <fmt/core.h>

#include "backends/cpu/isa.h"
#include "backends/cpu/kernels/matmul.h"
#include "backends/dtype.h"
#include "backends/reference/dequant.h"

namespace {

using lm::DType;
using lm::Isa;
using lm::cpu::MatMulArgs;
using lm::cpu::MatMulKernel;

struct Shape {
  std::uint32_t k;
  std::uint32_t n_out;
};
// q and k+v, output, gate and up, down of one layer.
constexpr Shape kLayer[] = {{2048, 2048}, {2048, 1024}, {2048, 2048}, {2048, 16384}, {8192, 2048}};
constexpr std::uint64_t kMinWeightBytes = 320u << 20;  // ten times a 32 MiB cache

struct Options {
  std::vector<std::string> types = {"Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q4_0",
                                    "Q4_1", "F16",  "BF16", "F32"};
  std::vector<std::uint32_t> rows = {1, 2, 4, 8, 16, 512};
  std::vector<Shape> shapes = {std::begin(kLayer), std::end(kLayer)};
  unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  Isa isa = lm::detect_isa();
  int reps = 5;
};

struct Free {
  void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{4096}); }
};
using Memory = std::unique_ptr<std::byte[], Free>;

Memory allocate(std::uint64_t bytes) {
  return Memory(new (std::align_val_t{4096}) std::byte[bytes + 64]);
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Threads that meet at spinning barriers; lives for the whole program, so that no figure holds a
/// thread's start.
class Team {
 public:
  explicit Team(unsigned n) : n_(n) {
    for (unsigned t = 1; t < n; ++t) {
      threads_.emplace_back([this, t](const std::stop_token& stop) { work(stop, t); });
    }
  }
  ~Team() {
    for (std::jthread& t : threads_) {
      t.request_stop();
    }
    generation_.fetch_add(1);
  }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// Runs body(thread) on all threads and waits.
  void run(const std::function<void(unsigned)>& body) {
    body_ = &body;
    left_.store(n_ - 1);
    generation_.fetch_add(1);
    body(0);
    wait([&] { return left_.load() == 0; });
  }
  void barrier() {
    const unsigned phase = phase_.load();
    if (arrived_.fetch_add(1) + 1 == n_) {
      arrived_.store(0);
      phase_.fetch_add(1);
      return;
    }
    wait([&] { return phase_.load() != phase; });
  }
  unsigned size() const { return n_; }

 private:
  /// Spins, then yields: other programs may want the cores.
  template <class Ready>
  static void wait(const Ready& ready) {
    for (int i = 0; !ready(); ++i) {
      if (i > 2000) {
        std::this_thread::yield();
      }
    }
  }
  void work(const std::stop_token& stop, unsigned thread) {
    unsigned seen = 0;
    while (true) {
      wait([&] { return generation_.load() != seen; });
      ++seen;
      if (stop.stop_requested()) {
        return;
      }
      (*body_)(thread);
      left_.fetch_sub(1);
    }
  }

  unsigned n_;
  std::atomic<unsigned> generation_ = 0, left_ = 0, arrived_ = 0, phase_ = 0;
  const std::function<void(unsigned)>* body_ = nullptr;
  std::vector<std::jthread> threads_;
};

/// Best GB/s of reading the memory once, with `streams` far streams a thread.
double read_roof(Team& team, const std::byte* data, std::uint64_t bytes, std::uint64_t streams) {
  double best = 0.0;
  std::atomic<std::uint64_t> sink = 0;
  for (int rep = 0; rep < 3; ++rep) {
    const double start = now_s();
    team.run([&](unsigned t) {
      const std::uint64_t part = bytes / team.size() / streams / 64 * 64;
      const std::byte* first = data + t * streams * part;
      std::uint64_t sum = 0;
      for (std::uint64_t i = 0; i < part; i += 64) {
        for (std::uint64_t s = 0; s < streams; ++s) {
          std::uint64_t v;
          std::memcpy(&v, first + s * part + i, sizeof v);
          sum ^= v;
        }
      }
      sink += sum;
    });
    best = std::max(best, static_cast<double>(bytes) / (now_s() - start) / 1e9);
  }
  return best;
}

struct Tensor {
  Shape shape;
  const std::byte* data;
};

/// Random bits that make a small, finite f16 at any even offset: blocks of every type can be read
/// from them. MXFP4's exponents are set: at random they would make the subnormal products that no
/// model has, and those are slow.
void fill(std::byte* data, std::uint64_t bytes, DType type) {
  std::mt19937_64 rng(7);
  for (std::uint64_t i = 0; i + 8 <= bytes; i += 8) {
    const std::uint64_t v = rng() & 0x3fff3fff3fff3fffULL & 0xfbfffbfffbfffbffULL;
    std::memcpy(data + i, &v, 8);
  }
  if (type == DType::mxfp4) {
    for (std::uint64_t i = 0; i < bytes; i += lm::layout(type).block_bytes) {
      data[i] = std::byte{120};
    }
  }
}

struct Result {
  double median_s;
  double best_s;
  std::uint64_t bytes;
  double ops;
};

/// One pass over all tensors: activations converted, then the threads' parts of the weight rows.
void pass(Team& team, const std::vector<Tensor>& tensors, DType type, Isa isa, std::uint32_t rows,
          const float* x, std::byte* act, std::vector<Memory>& scratch, float* out) {
  team.run([&](unsigned t) {
    for (const Tensor& tensor : tensors) {
      const MatMulKernel& kernel = *lm::cpu::find_matmul(type, isa, tensor.shape.k);
      const std::uint32_t n = team.size();
      if (kernel.convert != nullptr) {
        const std::uint32_t groups = (rows + kernel.row_group - 1) / kernel.row_group;
        const std::uint32_t begin = std::min(rows, groups * t / n * kernel.row_group);
        const std::uint32_t end = std::min(rows, groups * (t + 1) / n * kernel.row_group);
        kernel.convert(x, tensor.shape.k, rows, tensor.shape.k, act, begin, end);
        team.barrier();
      }
      MatMulArgs args;
      args.weight = tensor.data;
      args.weight_row_bytes = lm::row_bytes(type, tensor.shape.k);
      args.k = tensor.shape.k;
      args.act = kernel.convert != nullptr ? act : reinterpret_cast<const std::byte*>(x);
      args.x_stride = tensor.shape.k;
      args.n_rows = rows;
      args.out = out;
      args.out_stride = tensor.shape.n_out;
      const std::uint32_t steps = (tensor.shape.n_out + kernel.row_step - 1) / kernel.row_step;
      const std::uint32_t begin = steps * t / n * kernel.row_step;
      const std::uint32_t end = std::min(tensor.shape.n_out, steps * (t + 1) / n * kernel.row_step);
      kernel.run(args, begin, end, scratch[t].get());
      team.barrier();
    }
  });
}

Result measure(Team& team, const Options& options, DType type, std::uint32_t rows,
               const std::byte* weights, std::uint64_t available) {
  std::vector<Tensor> tensors;
  std::uint64_t bytes = 0;
  double ops = 0.0;
  std::uint32_t max_k = 0;
  std::uint32_t max_out = 0;
  std::uint64_t act_bytes = 0;
  std::uint64_t scratch_bytes = 0;
  const std::uint64_t wanted = rows > 64 ? kMinWeightBytes / 4 : kMinWeightBytes;
  while (bytes < wanted) {
    for (const Shape s : options.shapes) {
      const std::uint64_t size = lm::row_bytes(type, s.k) * s.n_out;
      if (bytes + size > available) {
        break;
      }
      tensors.push_back({s, weights + bytes});
      bytes += size;
      ops += 2.0 * s.k * s.n_out * rows;
      const MatMulKernel& kernel = *lm::cpu::find_matmul(type, options.isa, s.k);
      act_bytes = std::max(act_bytes, kernel.act_bytes(rows, s.k));
      scratch_bytes = std::max(scratch_bytes, kernel.scratch_bytes(rows, s.k));
      max_k = std::max(max_k, s.k);
      max_out = std::max(max_out, s.n_out);
    }
  }
  std::vector<float> x(std::size_t{rows} * max_k);
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (float& v : x) {
    v = normal(rng);
  }
  std::vector<float> out(std::size_t{rows} * max_out);
  Memory act = allocate(act_bytes);
  std::vector<Memory> scratch;
  for (unsigned t = 0; t < team.size(); ++t) {
    scratch.push_back(allocate(scratch_bytes));
  }
  std::vector<double> times;
  for (int rep = 0; rep < options.reps + 1; ++rep) {
    const double start = now_s();
    pass(team, tensors, type, options.isa, rows, x.data(), act.get(), scratch, out.data());
    if (rep > 0) {
      times.push_back(now_s() - start);
    }
  }
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front(), bytes, ops};
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    out.emplace_back(list.substr(0, comma));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return out;
}

bool parse(int argc, char** argv, Options& options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    const std::string value = argv[i + 1];
    if (name == "--type") {
      options.types = split(value);
    } else if (name == "--rows") {
      options.rows.clear();
      for (const std::string& n : split(value)) {
        options.rows.push_back(
            static_cast<std::uint32_t>(std::clamp(std::atoi(n.c_str()), 1, 512)));
      }
    } else if (name == "--threads") {
      options.threads = static_cast<unsigned>(std::clamp(std::atoi(value.c_str()), 1, 256));
    } else if (name == "--reps") {
      options.reps = std::clamp(std::atoi(value.c_str()), 1, 1000);
    } else if (name == "--isa") {
      const auto isa = lm::parse_isa(value);
      if (!isa || *isa > options.isa) {
        fmt::print(stderr, "this machine has no '{}'\n", value);
        return false;
      }
      options.isa = *isa;
    } else if (name == "--shape") {
      const std::size_t colon = value.find(':');
      const int k = std::atoi(value.c_str());
      const int n_out = colon == std::string::npos ? 0 : std::atoi(value.c_str() + colon + 1);
      if (k <= 0 || n_out <= 0 || k > 1 << 20 || n_out > 1 << 20) {
        fmt::print(stderr, "--shape takes K:N_OUT, got '{}'\n", value);
        return false;
      }
      options.shapes = {{static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(n_out)}};
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

int run(const Options& options) {
  constexpr std::uint64_t kArena = kMinWeightBytes + (256u << 20);
  Memory weights = allocate(kArena);
  fill(weights.get(), kArena, DType::f32);
  Team team(options.threads);
  double roof = 0.0;
  const auto show_roof = [&] {
    const double one = read_roof(team, weights.get(), kArena, 1);
    const double eight = read_roof(team, weights.get(), kArena, 8);
    roof = std::max({roof, one, eight});
    fmt::print("reading, {} threads: {:.1f} GB/s with 1 stream each, {:.1f} with 8\n", team.size(),
               one, eight);
  };
  show_roof();
  fmt::print("{:8} {:>5} {:>9} {:>9} {:>7} {:>7} {:>7}   ({}; rates of the median)\n", "type",
             "rows", "median ms", "best ms", "GB/s", "of roof", "TOP/s", lm::isa_name(options.isa));
  for (const std::string& name : options.types) {
    const lm::BlockLayout* block = lm::find_layout_by_name(name.data(), name.size());
    if (block == nullptr ||
        lm::cpu::find_matmul(block->dtype, options.isa, options.shapes[0].k) == nullptr) {
      fmt::print(stderr, "no kernel for type '{}'\n", name);
      return 2;
    }
    fill(weights.get(), kArena, block->dtype);
    for (const std::uint32_t rows : options.rows) {
      const Result r = measure(team, options, block->dtype, rows, weights.get(), kArena);
      const double rate = static_cast<double>(r.bytes) / r.median_s / 1e9;
      fmt::print("{:8} {:>5} {:>9.2f} {:>9.2f} {:>7.1f} {:>6.0f}% {:>7.3f}\n", block->name, rows,
                 r.median_s * 1e3, r.best_s * 1e3, rate, 100.0 * rate / roof,
                 r.ops / r.median_s / 1e12);
      std::fflush(stdout);
    }
  }
  show_roof();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    fmt::print(stderr,
               "usage: lm_matmul_bench [--type T,...] [--rows N,...] [--threads N] [--isa NAME] "
               "[--reps N] "
               "[--shape K:N_OUT]\n");
    return 2;
  }
  return run(options);
}
