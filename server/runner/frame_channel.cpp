#include "server/runner/frame_channel.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/uio.h>

namespace lm::server {
namespace {

constexpr std::size_t kHead = 5;
// Larger than any prompt or vector; a peer that says more is broken.
constexpr std::uint32_t kMaxFrame = 512u << 20;

}  // namespace

bool FrameChannel::send(FrameKind kind, std::string_view body) {
  if (body.size() > kMaxFrame) {
    return false;
  }
  std::array<char, kHead> head{static_cast<char>(kind)};
  const auto size = static_cast<std::uint32_t>(body.size());
  std::memcpy(head.data() + 1, &size, sizeof(size));
  const std::lock_guard lock(mutex_);
  std::size_t done = 0;
  while (done < kHead + body.size()) {
    std::array<iovec, 2> parts{};
    msghdr message{};
    message.msg_iov = parts.data();
    if (done < kHead) {
      parts[message.msg_iovlen++] = {head.data() + done, kHead - done};
      parts[message.msg_iovlen++] = {const_cast<char*>(body.data()), body.size()};
    } else {
      const std::string_view rest = body.substr(done - kHead);
      parts[message.msg_iovlen++] = {const_cast<char*>(rest.data()), rest.size()};
    }
    const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return false;
    }
    done += static_cast<std::size_t>(n);
  }
  return true;
}

bool FrameChannel::fill(std::size_t bytes) {
  while (in_.size() - taken_ < bytes) {
    if (taken_ > 0) {
      in_.erase(0, taken_);
      taken_ = 0;
    }
    std::array<char, 64 * 1024> piece;
    const ssize_t n = ::recv(fd_.get(), piece.data(), piece.size(), 0);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return false;
    }
    in_.append(piece.data(), static_cast<std::size_t>(n));
  }
  return true;
}

std::optional<Frame> FrameChannel::read() {
  if (!fill(kHead)) {
    return std::nullopt;
  }
  Frame frame;
  const auto kind = static_cast<std::uint8_t>(in_[taken_]);
  std::uint32_t size = 0;
  std::memcpy(&size, in_.data() + taken_ + 1, sizeof(size));
  if (kind == 0 || kind > static_cast<std::uint8_t>(FrameKind::last) || size > kMaxFrame ||
      !fill(kHead + size)) {
    return std::nullopt;
  }
  frame.kind = static_cast<FrameKind>(kind);
  frame.body = in_.substr(taken_ + kHead, size);
  taken_ += kHead + size;
  if (taken_ == in_.size()) {
    in_.clear();
    taken_ = 0;
  }
  return frame;
}

void FrameChannel::shut() {
  ::shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace lm::server
