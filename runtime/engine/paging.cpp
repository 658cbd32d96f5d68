#include "runtime/engine/paging.h"

#include <fmt/core.h>

#include "backends/op_work.h"
#include "runtime/gguf/read_speed.h"

namespace lm {
namespace {

constexpr double kGiga = 1e9;

double weight_bytes_of_token(const Plan& plan) {
  constexpr std::uint32_t kFirst[] = {0};
  constexpr std::uint32_t kRows[] = {0, 1};
  constexpr std::uint32_t kLength[] = {1};
  StepInput one;
  one.n_row = one.n_seq = one.n_out = 1;
  one.row_seq = one.row_kv = one.out_row = kFirst;
  one.seq_row = kRows;
  one.kv_len = kLength;
  OpWork work;
  for (const auto* segments : {&plan.body, &plan.head}) {
    for (const Segment& segment : *segments) {
      for (const Op& op : segment.ops) {
        work += op_work(op, one);
      }
    }
  }
  return work.weight_bytes;
}

/// Bytes a second from the disk that holds the file, or 0 where nobody can tell.
double disk_speed(const GgufFile& file) {
  const ByteSource& part = *file.parts().front();
  return part.fd() < 0 ? 0.0 : read_speed(part.fd(), part.size()).value_or(0.0);
}

}  // namespace

std::string paging_note(const GgufFile& file, const Plan& one_row, std::uint64_t needed_bytes,
                        std::uint64_t free_bytes) {
  std::string expected;
  const double speed = disk_speed(file);
  const double bytes = weight_bytes_of_token(one_row);
  if (speed > 0.0 && bytes > 0.0) {
    expected = fmt::format(": expect about {:.2g} tok/s (disk {:.2f} GB/s, {:.2f} GB a token)",
                           speed / bytes, speed / kGiga, bytes / kGiga);
  }
  return fmt::format(
      "{} needs {:.2f} GB of memory and {:.2f} GB are free, so that its weights are read from the "
      "disk again and again{}",
      file.name(), static_cast<double>(needed_bytes) / kGiga,
      static_cast<double>(free_bytes) / kGiga, expected);
}

}  // namespace lm
