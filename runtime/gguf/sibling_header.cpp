#include "runtime/gguf/sibling_header.h"

#include <algorithm>
#include <cstring>

#include "runtime/gguf/guarded.h"

namespace lm {
namespace {

/// Magic, version, number of tensors, number of keys.
constexpr std::uint64_t kCountsEnd = 24;
constexpr std::uint64_t kStep = 1 << 20;

bool same_tensors(const GgufFile& a, const GgufFile& b) {
  return std::ranges::equal(a.tensors(), b.tensors(), [](const GgufTensor& x, const GgufTensor& y) {
    return x.name == y.name && x.ne == y.ne;
  });
}

/// A sibling whose counts of keys and tensors are those of `counts`.
Result<const GgufFile*> find_like(std::span<const GgufFile* const> siblings,
                                  std::span<const std::byte> counts, std::uint64_t size) {
  for (const GgufFile* sibling : siblings) {
    if (sibling->parts().size() != 1 || sibling->keys_end(0) < kCountsEnd ||
        size < sibling->header_bytes(0)) {
      continue;
    }
    LM_TRY(const auto known, sibling->parts()[0]->view(0, kCountsEnd));
    if (std::ranges::equal(counts, known)) {
      return sibling;
    }
  }
  return nullptr;
}

/// The file with the sibling's metadata and its own tensor table; an error when it is not like it.
Result<GgufFile> splice(const GgufFile& sibling, const std::string& name, std::uint64_t size,
                        const RangedSource::Fetch& fetch) {
  const std::uint64_t keys_end = sibling.keys_end(0);
  const std::uint64_t end = sibling.header_bytes(0);
  LM_TRY(const auto known, sibling.parts()[0]->view(0, end));
  LM_TRY(const std::vector<std::byte> table, fetch(keys_end, end - keys_end));
  std::vector<std::byte> header(known.begin(), known.end());
  const auto other = [&] {
    return fail(ErrorCode::bad_value, name, "its header is not like its sibling's");
  };
  if (table.size() != end - keys_end) {
    return other();
  }
  std::ranges::copy(table, header.begin() + static_cast<std::ptrdiff_t>(keys_end));
  LM_TRY(GgufFile file, read_header(name, size, known_header(std::move(header))));
  if (!same_tensors(sibling, file)) {
    return other();
  }
  return file;
}

}  // namespace

RangedSource::Fetch known_header(std::vector<std::byte> header) {
  return [header = std::move(header)](std::uint64_t offset,
                                      std::uint64_t length) -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes(length);
    if (offset < header.size()) {
      std::memcpy(bytes.data(), header.data() + offset,
                  std::min<std::uint64_t>(length, header.size() - offset));
    }
    return bytes;
  };
}

Result<GgufFile> read_header(std::string name, std::uint64_t size, RangedSource::Fetch fetch) {
  std::vector<std::unique_ptr<ByteSource>> parts;
  parts.push_back(std::make_unique<RangedSource>(std::move(name), size, std::move(fetch), kStep));
  return GgufFile::read(std::move(parts));
}

Result<GgufFile> read_header_like(std::span<const GgufFile* const> siblings, std::string name,
                                  std::uint64_t size, RangedSource::Fetch fetch) {
  return gguf::guarded(name, [&]() -> Result<GgufFile> {
    if (siblings.empty() || size < kCountsEnd) {
      return read_header(name, size, fetch);
    }
    LM_TRY(const std::vector<std::byte> counts, fetch(0, kCountsEnd));
    LM_TRY(const GgufFile* const like, find_like(siblings, counts, size));
    if (like != nullptr) {
      bool fetched = true;
      auto spliced = splice(*like, name, size, [&](std::uint64_t offset, std::uint64_t length) {
        auto bytes = fetch(offset, length);
        fetched = bytes.has_value();
        return bytes;
      });
      // What could not be fetched now won't be fetched by asking for more.
      if (spliced || !fetched) {
        return spliced;
      }
    }
    return read_header(name, size, fetch);
  });
}

}  // namespace lm
