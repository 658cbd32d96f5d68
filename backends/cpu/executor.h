/// A compiled segment on the CPU.
#pragma once

#include <memory>

#include "backends/backend.h"
#include "backends/cpu/isa.h"
#include "backends/cpu/thread_pool.h"

namespace lm::cpu {

/// Steps in order, a barrier between two. `pool` outlives the executable.
std::unique_ptr<Executable> make_executable(const CompileRequest& request, Isa isa,
                                            ThreadPool& pool);

/// What the steps of a segment need as work memory.
std::uint64_t segment_scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                                    std::uint32_t max_outputs, Isa isa, std::uint32_t n_threads);

}  // namespace lm::cpu
