#include "store/chunk_sums.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "store/json_text.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr std::uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr std::uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr std::uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr std::uint64_t kPrime5 = 0x27D4EB2F165667C5;

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::big) {
    value = std::byteswap(value);
  }
  return value;
}

std::uint64_t round(std::uint64_t lane, std::uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

void stripe(std::array<std::uint64_t, 4>& lanes, const std::byte* from) {
  for (std::size_t i = 0; i < 4; ++i) {
    lanes[i] = round(lanes[i], load<std::uint64_t>(from + 8 * i));
  }
}

}  // namespace

ChunkHash::ChunkHash() : lanes_{kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1} {}

void ChunkHash::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (buffered_ > 0) {
    const std::size_t taken = std::min(bytes.size(), buffer_.size() - buffered_);
    std::copy_n(bytes.data(), taken, buffer_.data() + buffered_);
    buffered_ += taken;
    bytes = bytes.subspan(taken);
    if (buffered_ < buffer_.size()) {
      return;
    }
    stripe(lanes_, buffer_.data());
    buffered_ = 0;
  }
  while (bytes.size() >= buffer_.size()) {
    stripe(lanes_, bytes.data());
    bytes = bytes.subspan(buffer_.size());
  }
  std::ranges::copy(bytes, buffer_.begin());
  buffered_ = bytes.size();
}

std::uint64_t ChunkHash::finish() const {
  std::uint64_t hash = lanes_[2] + kPrime5;
  if (total_ >= buffer_.size()) {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) {
      hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
    }
  }
  hash += total_;
  std::size_t at = 0;
  for (; at + 8 <= buffered_; at += 8) {
    hash = std::rotl(hash ^ round(0, load<std::uint64_t>(buffer_.data() + at)), 27) * kPrime1 +
           kPrime4;
  }
  if (at + 4 <= buffered_) {
    hash = std::rotl(hash ^ load<std::uint32_t>(buffer_.data() + at) * kPrime1, 23) * kPrime2 +
           kPrime3;
    at += 4;
  }
  for (; at < buffered_; ++at) {
    hash = std::rotl(hash ^ static_cast<std::uint64_t>(buffer_[at]) * kPrime5, 11) * kPrime1;
  }
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

std::uint64_t chunk_hash(std::span<const std::byte> bytes) {
  ChunkHash hash;
  hash.update(bytes);
  return hash.finish();
}

std::string ChunkSums::to_text() const {
  nlohmann::ordered_json json = {
      {"version", 1}, {"hash", "xxh64"}, {"chunk_bytes", kChunkBytes}, {"size", size_bytes}};
  auto& list = json["sums"] = nlohmann::ordered_json::array();
  for (const std::uint64_t sum : sums) {
    list.push_back(fmt::format("{:016x}", sum));
  }
  return seal(json.dump());
}

Result<ChunkSums> ChunkSums::from_text(std::string_view text, std::string_view subject) {
  LM_TRY(const nlohmann::json json, unseal(text, subject));
  const JsonReader reader(json, subject);
  LM_TRY(const std::uint64_t version, reader.number("version"));
  LM_TRY(const std::string hash, reader.text("hash"));
  LM_TRY(const std::uint64_t chunk_bytes, reader.number("chunk_bytes"));
  ChunkSums result;
  LM_TRY(result.size_bytes, reader.number("size"));
  LM_TRY(const nlohmann::json* list, reader.array("sums", chunk_count(result.size_bytes)));
  if (version != 1 || hash != "xxh64" || chunk_bytes != kChunkBytes ||
      list->size() != chunk_count(result.size_bytes)) {
    return std::unexpected(
        reader.wrong("sums", "another format or another number of chunks than its size asks for"));
  }
  for (const auto& item : *list) {
    const auto sum = parse_hex64(item);
    if (!sum) {
      return std::unexpected(reader.wrong("sums", "expected 16 hex digits"));
    }
    result.sums.push_back(*sum);
  }
  return result;
}

}  // namespace lm::store
