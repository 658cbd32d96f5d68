#include "runtime/gguf/byte_source.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/gguf/guarded.h"

namespace lm {
namespace {

std::string errno_text(int code) {
  return std::generic_category().message(code);
}

/// An owned descriptor.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// A read-only mapping of a whole file; empty for an empty file, which mmap refuses.
class Mapping {
 public:
  Mapping(void* address, std::size_t length) : address_(address), length_(length) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)),
        length_(std::exchange(other.length_, 0)) {}
  Mapping& operator=(Mapping&&) = delete;
  ~Mapping() {
    if (length_ > 0) {
      ::munmap(address_, length_);
    }
  }
  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), length_};
  }

 private:
  void* address_;
  std::size_t length_;
};

Result<std::span<const std::byte>> slice(std::span<const std::byte> bytes, const std::string& name,
                                         std::uint64_t offset, std::uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) {
    return gguf::guarded(name, [&]() -> Result<std::span<const std::byte>> {
      return fail(ErrorCode::truncated, name,
                  fmt::format("{} bytes at offset {} end past the end of the file ({} bytes)",
                              length, offset, bytes.size()));
    });
  }
  return bytes.subspan(offset, length);
}

class MappedSource : public ByteSource {
 public:
  MappedSource(FileDescriptor fd, Mapping mapping, std::string name)
      : fd_(std::move(fd)), mapping_(std::move(mapping)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return mapping_.bytes().size(); }
  Result<std::span<const std::byte>> view(std::uint64_t offset, std::uint64_t length) override {
    return slice(mapping_.bytes(), name_, offset, length);
  }
  std::span<const std::byte> mapping() const override { return mapping_.bytes(); }
  int fd() const override { return fd_.get(); }

 private:
  FileDescriptor fd_;
  Mapping mapping_;
  std::string name_;
};

class MemorySource : public ByteSource {
 public:
  MemorySource(std::vector<std::byte> bytes, std::string name)
      : bytes_(std::move(bytes)), name_(std::move(name)) {}
  const std::string& name() const override { return name_; }
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::span<const std::byte>> view(std::uint64_t offset, std::uint64_t length) override {
    return slice(bytes_, name_, offset, length);
  }
  std::span<const std::byte> mapping() const override { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::string name_;
};

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) {
    return "is a directory, not a file";
  }
  if (S_ISFIFO(mode)) {
    return "is a FIFO, not a regular file";
  }
  if (S_ISSOCK(mode)) {
    return "is a socket, not a regular file";
  }
  return "is a device, not a regular file";
}

Result<std::unique_ptr<ByteSource>> map_owned(FileDescriptor fd, std::string name) {
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) {
    const int code = errno;
    return fail(ErrorCode::io, std::move(name), "can't be examined: " + errno_text(code), {}, code);
  }
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorCode::not_a_file, std::move(name), kind_of(info.st_mode),
                "give the path of a .gguf file");
  }
  const auto length = static_cast<std::size_t>(info.st_size);
  void* address = nullptr;
  if (length > 0) {
    address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (address == MAP_FAILED) {
      const int code = errno;
      return fail(ErrorCode::io, std::move(name),
                  fmt::format("its {} bytes can't be mapped: {}", length, errno_text(code)), {},
                  code);
    }
  }
  Mapping mapping(address, length);
  return std::make_unique<MappedSource>(std::move(fd), std::move(mapping), std::move(name));
}

}  // namespace

Result<std::unique_ptr<ByteSource>> open_mapped(const std::filesystem::path& path) {
  return gguf::guarded(path.native(), [&]() -> Result<std::unique_ptr<ByteSource>> {
    // O_NONBLOCK: opening a FIFO without a writer must not wait; on regular files it has no effect.
    int fd = -1;
    do {
      fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
      const int code = errno;
      if (code == ENXIO) {
        return fail(ErrorCode::not_a_file, path.string(),
                    "is a socket or a device, not a regular file", "give the path of a .gguf file",
                    code);
      }
      return fail(ErrorCode::io, path.string(), "can't be opened: " + errno_text(code),
                  code == ENOENT ? "check the path" : "", code);
    }
    return map_owned(FileDescriptor(fd), path.string());
  });
}

Result<std::unique_ptr<ByteSource>> map_fd(int fd, std::string name) {
  return gguf::guarded("a file", [&]() -> Result<std::unique_ptr<ByteSource>> {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
      const int code = errno;
      return fail(ErrorCode::io, std::move(name),
                  "its descriptor can't be duplicated: " + errno_text(code), {}, code);
    }
    return map_owned(FileDescriptor(copy), std::move(name));
  });
}

std::unique_ptr<ByteSource> memory_source(std::vector<std::byte> bytes, std::string name) {
  return std::make_unique<MemorySource>(std::move(bytes), std::move(name));
}

}  // namespace lm
