#include "registry/chunk_map.h"

#include <algorithm>

namespace lm::registry {

using store::kChunkBytes;

ChunkMap::ChunkMap(std::uint64_t size_bytes)
    : size_bytes_(size_bytes), chunks_(static_cast<std::size_t>(store::chunk_count(size_bytes))) {}

ByteRange ChunkMap::range_of(std::size_t index) const {
  const std::uint64_t begin = index * kChunkBytes;
  return {begin, begin + std::min(kChunkBytes, size_bytes_ - begin)};
}

void ChunkMap::restore(const store::Journal& journal) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    const ByteRange range = range_of(i);
    while (next < journal.done.size() && journal.done[next].end <= range.begin) {
      ++next;
    }
    Chunk& chunk = chunks_[i];
    chunk = Chunk{};
    if (next < journal.done.size() && journal.done[next].begin <= range.begin) {
      chunk.filled = std::min(journal.done[next].end, range.end) - range.begin;
    }
    if (filled(i)) {
      chunk.sum = i < journal.chunks.size() ? journal.chunks[i] : std::nullopt;
      if (!chunk.sum) {
        chunk.filled = 0;  // nothing could tell whether it is still good
      }
    }
    chunk.suspect = chunk.filled > 0 && !filled(i);
    done_bytes_ += chunk.filled;
  }
}

void ChunkMap::write_to(store::Journal& journal) const {
  journal.done.clear();
  journal.chunks.assign(chunks_.size(), std::nullopt);
  for (std::size_t i = 0; i < chunks_.size(); ++i) {
    const std::uint64_t begin = range_of(i).begin;
    store::add_range(journal.done, {begin, begin + chunks_[i].filled});
    journal.chunks[i] = chunks_[i].sum;
  }
}

std::uint64_t ChunkMap::prefix_bytes() const {
  while (prefix_chunks_ < chunks_.size() && filled(prefix_chunks_)) {
    ++prefix_chunks_;
  }
  if (prefix_chunks_ == chunks_.size()) {
    return size_bytes_;
  }
  return range_of(prefix_chunks_).begin + chunks_[prefix_chunks_].filled;
}

bool ChunkMap::filled(ByteRange range) const {
  for (std::uint64_t at = range.begin; at < range.end; at = range_of(index_of(at)).end) {
    if (!filled(index_of(at))) {
      return false;
    }
  }
  return true;
}

std::size_t ChunkMap::free_chunks() const {
  std::size_t count = 0;
  for (std::size_t i = prefix_chunks_; i < chunks_.size(); ++i) {
    count += chunks_[i].claims == 0 && !filled(i) ? 1 : 0;
  }
  return count;
}

std::optional<ByteRange> ChunkMap::claim(std::size_t max_chunks, Clock::time_point now) {
  const auto is_free = [&](std::size_t i) {
    return chunks_[i].claims == 0 && !filled(i) && chunks_[i].not_before <= now;
  };
  for (std::size_t i = prefix_chunks_; i < chunks_.size(); ++i) {
    if (!is_free(i)) {
      continue;
    }
    ByteRange range{range_of(i).begin + chunks_[i].filled, range_of(i).end};
    ++chunks_[i].claims;
    for (std::size_t n = 1; n < max_chunks && i + n < chunks_.size(); ++n) {
      if (!is_free(i + n) || chunks_[i + n].filled > 0) {
        break;
      }
      ++chunks_[i + n].claims;
      range.end = range_of(i + n).end;
    }
    return range;
  }
  return std::nullopt;
}

ByteRange ChunkMap::claim_again(std::size_t index) {
  ++chunks_[index].claims;
  return {range_of(index).begin + chunks_[index].filled, range_of(index).end};
}

void ChunkMap::release(ByteRange range) {
  for (std::uint64_t at = range.begin; at < range.end; at = range_of(index_of(at)).end) {
    --chunks_[index_of(at)].claims;
  }
}

ChunkMap::Fresh ChunkMap::fresh(std::uint64_t offset, std::span<const std::byte> bytes) const {
  const std::size_t index = index_of(offset);
  const std::uint64_t have = range_of(index).begin + chunks_[index].filled;
  if (offset > have || offset + bytes.size() <= have) {
    return {};
  }
  return {have, bytes.subspan(static_cast<std::size_t>(have - offset))};
}

bool ChunkMap::mark(const Fresh& fresh) {
  const std::size_t index = index_of(fresh.offset);
  Chunk& chunk = chunks_[index];
  if (chunk.hash_bytes == chunk.filled) {
    chunk.hash.update(fresh.bytes);
    chunk.hash_bytes += fresh.bytes.size();
  }
  chunk.filled += fresh.bytes.size();
  chunk.failures = 0;
  done_bytes_ += fresh.bytes.size();
  if (!filled(index)) {
    return false;
  }
  if (chunk.hash_bytes == chunk.filled) {
    chunk.sum = chunk.hash.finish();
  }
  return true;
}

void ChunkMap::invalidate(std::size_t index) {
  done_bytes_ -= chunks_[index].filled;
  const int claims = chunks_[index].claims;
  chunks_[index] = Chunk{};
  chunks_[index].claims = claims;
  prefix_chunks_ = std::min(prefix_chunks_, index);
}

}  // namespace lm::registry
