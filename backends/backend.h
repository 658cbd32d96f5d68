/// A device that holds memory and runs plans. One small set of functions for CPU, CUDA and Vulkan
/// alike.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backends/error.h"
#include "backends/ops.h"
#include "backends/roofs.h"
#include "backends/step_input.h"

namespace lm {

enum class DeviceKind : std::uint8_t { reference, cpu, cuda, vulkan };

/// What is known of a device. Figures are of the moment of the call.
struct DeviceInfo {
  std::string id;    ///< "cpu", "cuda:0", as --backend takes it
  std::string name;  ///< as the vendor calls it
  DeviceKind kind = DeviceKind::cpu;
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::string memory_source;  ///< where the numbers came from: "MemAvailable", "NVML"
  std::string detail;         ///< instruction set, driver
  std::string uuid = {};      ///< of a card, 32 hexadecimal digits; empty: unknown
  std::string pci = {};       ///< "0000:01:00.0"; empty: none or unknown
  bool unified = false;       ///< shares its memory with the CPU
  bool software = false;      ///< computes on the CPU: only for those who ask for it by name
  std::uint64_t max_buffer_bytes = ~std::uint64_t{0};  ///< largest single buffer
};

/// Memory of a device, or a view of a mapped file. Freed with the object; the backend must outlive
/// it.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual std::uint64_t size() const = 0;
  /// Address on the device (what StepInput's slab table holds).
  virtual std::uint64_t address() const = 0;
  /// Where the host can read and write it, or null.
  virtual std::byte* host() = 0;
};

/// Ops of one device in order. A segment holds either device ops or exactly one Copy.
struct Segment {
  std::uint16_t device = 0;
  std::vector<Op> ops;
};

enum class RunStatus : std::uint8_t {
  done,
  cancelled,  ///< the stop flag was seen; KV rows of this step are undefined, everything before is
              ///< untouched
  lost,       ///< the device is gone; every sequence on it has failed
};

/// Set by another thread to end a step early. The CPU looks at it per work item, so that it stops
/// within 100 ms.
using StopFlag = std::atomic<bool>;

/// Time of one op in the last run, when compiled with `profile`.
struct OpTime {
  const char* name;
  double microseconds;
  std::uint64_t bytes;  ///< weights and KV read
};

/// A segment ready to be replayed with any StepInput that fits its bucket.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs all ops and waits. `step.n_row` and `step.n_out` must not exceed what was compiled for.
  /// Never allocates.
  virtual RunStatus run(const StepInput& step, const StopFlag& stop) = 0;
  virtual std::vector<OpTime> times() const { return {}; }
};

/// What a segment is compiled with. Everything outlives the executable.
struct CompileRequest {
  const Segment* segment = nullptr;
  std::span<Buffer* const> buffers;  ///< [BufferIndex]; [0] is the arena
  Buffer* scratch = nullptr;         ///< at least scratch_bytes(segment) of this device
  std::uint32_t max_rows = 0;        ///< bucket: capacity of RowSet::step
  std::uint32_t max_outputs = 0;     ///< capacity of RowSet::outputs
  bool profile = false;
};

/// One device. Not thread-safe: one engine thread drives it.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceInfo info() const = 0;

  /// Measures what the device can do at best, within about two seconds; none where nobody has
  /// written how. Nothing else may run on the device meanwhile.
  virtual std::optional<Roofs> measure_roofs() { return std::nullopt; }

  /// Whether this backend runs the op as it is (types, options). What it can't runs on another
  /// device.
  virtual bool supports(const Op& op) const = 0;

  /// Zeroed memory, aligned for every op. Errors: out_of_memory with bytes wanted.
  virtual Result<std::unique_ptr<Buffer>> alloc(std::uint64_t bytes) = 0;
  /// A buffer over host memory that outlives it, without a copy where the device can read host
  /// memory (CPU), else an allocation and an upload. `bytes` are never written.
  virtual Result<std::unique_ptr<Buffer>> import(std::span<const std::byte> bytes) = 0;
  virtual Result<void> upload(Buffer& to, std::uint64_t offset,
                              std::span<const std::byte> bytes) = 0;
  virtual Result<void> download(Buffer& from, std::uint64_t offset, std::span<std::byte> bytes) = 0;
  /// Copies inside the device (copy-on-write of pages).
  virtual Result<void> copy(Buffer& from, std::uint64_t from_offset, Buffer& to,
                            std::uint64_t to_offset, std::uint64_t bytes) = 0;

  /// Work memory a segment needs beside the arena: pure arithmetic, so that plans know it before
  /// anything is loaded.
  virtual std::uint64_t scratch_bytes(const Segment& segment, std::uint32_t max_rows,
                                      std::uint32_t max_outputs) const = 0;
  virtual Result<std::unique_ptr<Executable>> compile(const CompileRequest& request) = 0;

  /// One layer's K and V of one page as plain rows ([n_head_kv, kPageTokens, head_dim] in the KV
  /// type), whatever the arrangement inside the backend's tiles: the form on disk and between
  /// devices. `page_offset` is the page's start.
  virtual Result<void> read_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                               std::span<std::byte> k_rows, std::span<std::byte> v_rows) = 0;
  virtual Result<void> write_kv(Buffer& slab, std::uint64_t page_offset, const KvRef& kv,
                                std::span<const std::byte> k_rows,
                                std::span<const std::byte> v_rows) = 0;
};

}  // namespace lm
