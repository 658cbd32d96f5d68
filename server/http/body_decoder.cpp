#include "server/http/body_decoder.h"

#include <algorithm>
#include <array>

#include <zlib.h>
#include <zstd.h>

namespace lm::server {
namespace {

constexpr std::size_t kPiece = std::size_t{64} * 1024;
// A zstd frame may ask for a window of this much memory (2^23 is what its own tools use by
// default).
constexpr int kMaxWindowLog = 24;

class GzipDecoder : public BodyDecoder {
 public:
  GzipDecoder() { ready_ = inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK; }
  ~GzipDecoder() override { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  Outcome take(std::string_view bytes, std::uint64_t limit, std::string& out) override {
    if (!ready_) {
      return Outcome::broken;
    }
    std::array<char, kPiece> piece;
    // zlib's interface takes no const; it does not write to its input.
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    while (stream_.avail_in > 0) {
      if (complete_) {
        return Outcome::broken;  // bytes behind the end
      }
      stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_out = static_cast<uInt>(piece.size());
      const int code = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t n = piece.size() - stream_.avail_out;
      total_ += n;
      if (total_ > limit) {
        return Outcome::too_large;
      }
      out.append(piece.data(), n);
      if (code == Z_STREAM_END) {
        complete_ = true;
      } else if (code != Z_OK) {
        return Outcome::broken;
      }
    }
    // What is left inside the stream comes out without input.
    while (!complete_) {
      stream_.next_out = reinterpret_cast<Bytef*>(piece.data());
      stream_.avail_out = static_cast<uInt>(piece.size());
      const int code = inflate(&stream_, Z_NO_FLUSH);
      const std::size_t n = piece.size() - stream_.avail_out;
      total_ += n;
      if (total_ > limit) {
        return Outcome::too_large;
      }
      out.append(piece.data(), n);
      complete_ = code == Z_STREAM_END;
      if (n == 0 || (code != Z_OK && code != Z_STREAM_END)) {
        break;
      }
    }
    return Outcome::ok;
  }
  bool complete() const override { return complete_; }

 private:
  z_stream stream_{};
  bool ready_ = false;
  bool complete_ = false;
  std::uint64_t total_ = 0;
};

class ZstdDecoder : public BodyDecoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream()) {
    if (stream_ != nullptr) {
      ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kMaxWindowLog);
    }
  }
  ~ZstdDecoder() override { ZSTD_freeDStream(stream_); }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;

  Outcome take(std::string_view bytes, std::uint64_t limit, std::string& out) override {
    if (stream_ == nullptr) {
      return Outcome::broken;
    }
    std::array<char, kPiece> piece;
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    bool filled = true;
    while (input.pos < input.size || filled) {
      ZSTD_outBuffer output{piece.data(), piece.size(), 0};
      const std::size_t code = ZSTD_decompressStream(stream_, &output, &input);
      if (ZSTD_isError(code) != 0) {
        return Outcome::broken;
      }
      total_ += output.pos;
      if (total_ > limit) {
        return Outcome::too_large;
      }
      out.append(piece.data(), output.pos);
      complete_ = code == 0;
      filled = output.pos == piece.size();
      if (complete_ && input.pos == input.size) {
        break;
      }
    }
    return Outcome::ok;
  }
  bool complete() const override { return complete_; }

 private:
  ZSTD_DStream* stream_;
  bool complete_ = false;
  std::uint64_t total_ = 0;
};

}  // namespace

std::unique_ptr<BodyDecoder> make_body_decoder(std::string_view coding, bool& known) {
  std::string name(coding);
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  known = true;
  if (name == "gzip" || name == "x-gzip") {
    return std::make_unique<GzipDecoder>();
  }
  if (name == "zstd") {
    return std::make_unique<ZstdDecoder>();
  }
  known = name.empty() || name == "identity";
  return nullptr;
}

}  // namespace lm::server
