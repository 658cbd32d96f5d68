/// Where the bytes of a GGUF come from: a mapped file, memory, or ranges fetched on demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/error.h"

namespace lm {

/// Random access to immutable bytes. Views stay valid for the life of the source. Thread-safe for
/// reading.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual const std::string& name() const = 0;  ///< for messages: the path as the user gave it
  virtual std::uint64_t size() const = 0;
  /// Bytes [offset, offset + length). Errors: truncated (ends past size), io.
  virtual Result<std::span<const std::byte>> view(std::uint64_t offset, std::uint64_t length) = 0;
  /// The whole file as one mapping, or empty where there is none (ranged sources). Weights are used
  /// in place from here.
  virtual std::span<const std::byte> mapping() const { return {}; }
  /// Descriptor of the file behind it, or -1.
  virtual int fd() const { return -1; }
};

/// Opens and maps a regular file read-only. Never blocks: FIFOs, devices and directories are
/// refused (not_a_file). A SIGBUS from a file that shrinks while mapped is the caller's
/// process-wide handler's business.
Result<std::unique_ptr<ByteSource>> open_mapped(const std::filesystem::path& path);
/// As above for a descriptor, which stays the caller's (it is duplicated).
Result<std::unique_ptr<ByteSource>> map_fd(int fd, std::string name);
/// Bytes in memory (tests, fuzzing).
std::unique_ptr<ByteSource> memory_source(std::vector<std::byte> bytes, std::string name);

/// A source whose bytes are fetched when asked for: `fetch(offset, length)` returns exactly those
/// bytes. Reads grow in steps of `step_bytes`, and `fetched_bytes` says how far the reader has
/// needed to go.
class RangedSource : public ByteSource {
 public:
  using Fetch =
      std::function<Result<std::vector<std::byte>>(std::uint64_t offset, std::uint64_t length)>;
  RangedSource(std::string name, std::uint64_t size, Fetch fetch,
               std::uint64_t step_bytes = 1 << 20);
  ~RangedSource() override;
  const std::string& name() const override;
  std::uint64_t size() const override;
  Result<std::span<const std::byte>> view(std::uint64_t offset, std::uint64_t length) override;
  std::uint64_t fetched_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lm
