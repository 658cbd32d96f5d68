// The container as the GGUF specification (ggml, docs/gguf.md) lays it out, for files that may come
// from anyone: each count and length is compared with the limits and with the bytes left before it
// is used.
#include "runtime/gguf/part_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "runtime/gguf/file_kind.h"
#include "runtime/gguf/header_cursor.h"
#include "runtime/gguf/quoted.h"

namespace lm::gguf {
namespace {

static_assert(std::endian::native == std::endian::little,
              "values are read as they lie in the file");

constexpr std::uint64_t kMaxKeyBytes = 65'535;
constexpr std::uint64_t kMaxTensorNameBytes = 64;
constexpr std::uint64_t kMinKeyBytes = 8 + 4 + 1;         // length, type, one byte of value
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;  // length, dims, type, offset
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr std::string_view kMalformed = "the file is malformed, get it again or convert it again";

/// Bytes of an element of fixed size, the least bytes of a string or an array, 0 for an unknown
/// type.
std::uint64_t min_bytes(std::uint32_t type) {
  switch (static_cast<GgufType>(type)) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
    case GgufType::string:
      return 8;
    case GgufType::array:
      return 12;
  }
  return 0;
}

class PartReader {
 public:
  PartReader(ByteSource& source, const GgufLimits& limits)
      : source_(source), limits_(limits), cursor_(source) {}

  Result<Part> read() {
    LM_CHECK(read_magic());
    LM_CHECK(read_counts());
    LM_CHECK(read_keys());
    part_.keys_end = cursor_.position();
    LM_TRY(const std::uint64_t alignment, read_alignment());
    LM_CHECK(read_tensors(alignment));
    part_.header_bytes = cursor_.position();
    LM_CHECK(place_tensors(alignment));
    return std::move(part_);
  }

 private:
  template <class... Args>
  std::unexpected<Error> bad(ErrorCode code, fmt::format_string<Args...> problem,
                             Args&&... args) const {
    return fail(code, source_.name(), fmt::format(problem, std::forward<Args>(args)...),
                std::string(kMalformed));
  }

  Result<void> read_magic() {
    const std::uint64_t available = std::min<std::uint64_t>(source_.size(), 512);
    LM_TRY(const std::span<const std::byte> head, cursor_.peek(available, "the magic"));
    const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
    constexpr std::string_view kMagic = "GGUF";
    if (text.substr(0, 4) != kMagic) {
      if (kMagic.starts_with(text)) {
        return cursor_.truncated(24, "the header");
      }
      const FileKind kind = recognise(head);
      return fail(ErrorCode::bad_magic, source_.name(),
                  fmt::format("is not a GGUF file, it looks like {}", kind.description),
                  std::string(kind.hint));
    }
    cursor_.seek(kMagic.size());
    LM_TRY(part_.version, cursor_.number<std::uint32_t>("the version"));
    if (part_.version != 0 && (part_.version & 0xFFFF) == 0) {
      return fail(
          ErrorCode::unsupported_version, source_.name(),
          fmt::format(
              "is a big-endian GGUF (version field {:#010x}); big-endian GGUF is not supported",
              part_.version),
          "get a little-endian copy of the model");
    }
    if (part_.version != 2 && part_.version != 3) {
      return fail(ErrorCode::unsupported_version, source_.name(),
                  fmt::format("has GGUF version {}, expected 2 or 3", part_.version),
                  part_.version == 1 ? "convert the model again, or get a newer copy"
                                     : "get a copy in version 3");
    }
    return {};
  }

  Result<void> read_counts() {
    LM_TRY(n_tensors_, cursor_.number<std::uint64_t>("the tensor count"));
    LM_TRY(n_keys_, cursor_.number<std::uint64_t>("the key count"));
    if (n_tensors_ > limits_.max_tensors) {
      return bad(ErrorCode::limit_exceeded, "the header claims {} tensors, the limit is {}",
                 n_tensors_, limits_.max_tensors);
    }
    if (n_keys_ > limits_.max_keys) {
      return bad(ErrorCode::limit_exceeded, "the header claims {} keys, the limit is {}", n_keys_,
                 limits_.max_keys);
    }
    std::uint64_t least = 0;
    if (__builtin_mul_overflow(n_tensors_, kMinTensorBytes, &least) ||
        __builtin_add_overflow(least, n_keys_ * kMinKeyBytes, &least) || least > cursor_.left()) {
      return cursor_.truncated(
          least, fmt::format("the table of {} keys and {} tensors", n_keys_, n_tensors_));
    }
    return {};
  }

  Result<void> read_keys() {
    part_.metadata.set_subject(source_.name());
    for (std::uint64_t i = 0; i < n_keys_; ++i) {
      const std::uint64_t offset = cursor_.position();
      LM_TRY(const std::string_view key, cursor_.string(kMaxKeyBytes, "a key"));
      if (key.empty()) {
        return bad(ErrorCode::bad_value, "key {} of {} at offset {} is empty", i + 1, n_keys_,
                   offset);
      }
      if (part_.metadata.has(key)) {
        return bad(ErrorCode::duplicate, "key {} stands twice, again at offset {}", quoted(key),
                   offset);
      }
      LM_TRY(const MetadataValue value, read_value(key));
      part_.metadata.add(key, value);
    }
    return {};
  }

  Result<MetadataValue> read_value(std::string_view key) {
    MetadataValue value;
    LM_TRY(const std::uint32_t type, cursor_.number<std::uint32_t>("a value type"));
    const std::uint64_t size = min_bytes(type);
    if (size == 0) {
      return bad(ErrorCode::bad_value, "key {} has the unknown value type {}", quoted(key), type);
    }
    value.type = static_cast<GgufType>(type);
    if (value.type == GgufType::array) {
      LM_CHECK(read_array(key, 1, &value));
      return value;
    }
    if (value.type == GgufType::string) {
      LM_TRY(const std::string_view text,
             cursor_.string(limits_.max_string_bytes, "a string value"));
      value.bytes = std::as_bytes(std::span(text));
      return value;
    }
    LM_TRY(value.bytes, cursor_.take(size, "a value"));
    if (value.type == GgufType::boolean) {
      LM_CHECK(check_bools(key, value.bytes));
    }
    return value;
  }

  Result<void> check_bools(std::string_view key, std::span<const std::byte> bytes) const {
    const auto wrong =
        std::find_if(bytes.begin(), bytes.end(), [](std::byte b) { return b > std::byte{1}; });
    if (wrong != bytes.end()) {
      return bad(ErrorCode::bad_value, "key {} holds the bool {}, expected 0 or 1", quoted(key),
                 static_cast<unsigned>(*wrong));
    }
    return {};
  }

  /// Checks an array and everything nested in it. `value`, if given, gets the outermost array's
  /// view.
  Result<void> read_array(std::string_view key, std::uint32_t depth, MetadataValue* value) {
    if (depth > limits_.max_array_depth) {
      return bad(ErrorCode::limit_exceeded, "key {} nests arrays deeper than {}", quoted(key),
                 limits_.max_array_depth);
    }
    LM_TRY(const std::uint32_t element, cursor_.number<std::uint32_t>("an array's element type"));
    LM_TRY(const std::uint64_t count, cursor_.number<std::uint64_t>("an array's length"));
    const std::uint64_t size = min_bytes(element);
    if (size == 0) {
      return bad(ErrorCode::bad_value, "key {} is an array of the unknown element type {}",
                 quoted(key), element);
    }
    if (count > limits_.max_array_elements) {
      return bad(ErrorCode::limit_exceeded, "key {} claims {} elements, the limit is {}",
                 quoted(key), count, limits_.max_array_elements);
    }
    const std::uint64_t begin = cursor_.position();
    if (count > cursor_.left() / size) {
      return cursor_.truncated(count * size,
                               fmt::format("key {} ({} elements)", quoted(key), count));
    }
    const auto type = static_cast<GgufType>(element);
    if (type == GgufType::string) {
      LM_CHECK(cursor_.skip_strings(count, limits_.max_string_bytes, "a string of an array"));
    } else if (type == GgufType::array) {
      for (std::uint64_t i = 0; i < count; ++i) {
        LM_CHECK(read_array(key, depth + 1, nullptr));
      }
    } else {
      LM_TRY(const std::span<const std::byte> bytes, cursor_.take(count * size, "an array"));
      if (type == GgufType::boolean) {
        LM_CHECK(check_bools(key, bytes));
      }
    }
    if (value != nullptr) {
      value->element = type;
      value->count = count;
      const std::uint64_t end = cursor_.position();
      cursor_.seek(begin);
      LM_TRY(value->bytes, cursor_.take(end - begin, "an array"));
    }
    return {};
  }

  Result<std::uint64_t> read_alignment() {
    LM_TRY(
        const std::int64_t claimed,
        part_.metadata.int_or("general.alignment", static_cast<std::int64_t>(kDefaultAlignment)));
    const auto alignment = static_cast<std::uint64_t>(claimed);
    if (claimed < 8 || alignment > kMaxAlignment || !std::has_single_bit(alignment)) {
      return bad(ErrorCode::bad_value,
                 "key 'general.alignment' is {}, expected a power of two from 8 to {}", claimed,
                 kMaxAlignment);
    }
    return alignment;
  }

  Result<void> read_tensors(std::uint64_t alignment) {
    part_.tensors.reserve(n_tensors_);  // at most left / 24, checked above
    for (std::uint64_t i = 0; i < n_tensors_; ++i) {
      GgufTensor tensor;
      const std::uint64_t offset = cursor_.position();
      LM_TRY(tensor.name, cursor_.string(kMaxTensorNameBytes, "a tensor's name"));
      if (tensor.name.empty()) {
        return bad(ErrorCode::bad_value, "tensor {} of {} at offset {} has an empty name", i + 1,
                   n_tensors_, offset);
      }
      if (tensor.name.find('\0') != std::string_view::npos) {
        return bad(ErrorCode::bad_value, "tensor {} has a NUL byte in its name",
                   quoted(tensor.name));
      }
      LM_CHECK(read_shape(tensor));
      LM_CHECK(read_type(tensor));
      LM_TRY(tensor.file_offset, cursor_.number<std::uint64_t>("a tensor's offset"));
      if (tensor.file_offset % alignment != 0) {
        return bad(ErrorCode::bad_value,
                   "tensor {} has offset {}, not a multiple of the alignment {}",
                   quoted(tensor.name), tensor.file_offset, alignment);
      }
      part_.tensors.push_back(tensor);
    }
    return {};
  }

  Result<void> read_shape(GgufTensor& tensor) {
    LM_TRY(tensor.n_dims, cursor_.number<std::uint32_t>("a tensor's number of dimensions"));
    if (tensor.n_dims < 1 || tensor.n_dims > tensor.ne.size()) {
      return bad(ErrorCode::bad_value, "tensor {} has {} dimensions, expected 1 to 4",
                 quoted(tensor.name), tensor.n_dims);
    }
    std::int64_t elements = 1;
    for (std::uint32_t d = 0; d < tensor.n_dims; ++d) {
      LM_TRY(tensor.ne[d], cursor_.number<std::uint64_t>("a tensor's shape"));
      if (tensor.ne[d] == 0 ||
          tensor.ne[d] > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        return bad(ErrorCode::bad_value,
                   "tensor {} has {} values in dimension {}, expected 1 to 2^63 - 1",
                   quoted(tensor.name), tensor.ne[d], d);
      }
      if (__builtin_mul_overflow(elements, static_cast<std::int64_t>(tensor.ne[d]), &elements)) {
        return bad(ErrorCode::bad_value, "tensor {} has a shape whose product is above 2^63 - 1",
                   quoted(tensor.name));
      }
    }
    return {};
  }

  Result<void> read_type(GgufTensor& tensor) {
    LM_TRY(const std::uint32_t id, cursor_.number<std::uint32_t>("a tensor's type"));
    if (is_removed_type(id)) {
      return fail(ErrorCode::unsupported_type, source_.name(),
                  fmt::format("tensor {} has type {}, which was removed from the format",
                              quoted(tensor.name), id),
                  "requantise the model");
    }
    const BlockLayout* type = find_layout(id);
    if (type == nullptr) {
      return fail(ErrorCode::unsupported_type, source_.name(),
                  fmt::format("tensor {} has the unknown type {}", quoted(tensor.name), id),
                  "get the model in another quantisation, or a newer lm");
    }
    if (type->use == TypeUse::work) {
      return fail(ErrorCode::unsupported_type, source_.name(),
                  fmt::format("tensor {} has type {}, which is not for weights",
                              quoted(tensor.name), type->name),
                  "requantise the model");
    }
    tensor.dtype = type->dtype;
    if (tensor.ne[0] % type->block_elems != 0) {
      return bad(ErrorCode::bad_value, "tensor {} has rows of {} values, {} needs a multiple of {}",
                 quoted(tensor.name), tensor.ne[0], type->name, type->block_elems);
    }
    if (__builtin_mul_overflow(tensor.ne[0] / type->block_elems * tensor.rows(),
                               std::uint64_t{type->block_bytes}, &tensor.bytes)) {
      return bad(ErrorCode::bad_value, "tensor {} has a size above 2^64 bytes",
                 quoted(tensor.name));
    }
    return {};
  }

  /// Turns offsets into those of the file; no tensor may reach into another or past the end.
  Result<void> place_tensors(std::uint64_t alignment) {
    if (part_.tensors.empty()) {
      return {};
    }
    // A header this long has been read, so the sum can't wrap.
    const std::uint64_t data_begin = (part_.header_bytes + alignment - 1) / alignment * alignment;
    std::uint64_t data_end = data_begin;
    const GgufTensor* past_end = nullptr;
    for (GgufTensor& tensor : part_.tensors) {
      std::uint64_t end = 0;
      if (__builtin_add_overflow(tensor.file_offset, data_begin, &tensor.file_offset) ||
          __builtin_add_overflow(tensor.file_offset, tensor.bytes, &end)) {
        return bad(ErrorCode::bad_value, "tensor {} ends above 2^64", quoted(tensor.name));
      }
      if (end > source_.size() && past_end == nullptr) {
        past_end = &tensor;
      }
      data_end = std::max(data_end, end);
    }
    LM_CHECK(check_overlaps());
    if (past_end != nullptr) {
      return fail(ErrorCode::truncated, source_.name(),
                  fmt::format("tensor {} ends at byte {}, the file has {}: truncated at {} of {} "
                              "bytes ({} missing)",
                              quoted(past_end->name), past_end->file_offset + past_end->bytes,
                              source_.size(), source_.size(), data_end, data_end - source_.size()),
                  "the download is incomplete, get the file again (lm pull NAME)");
    }
    const std::uint64_t beyond = source_.size() - data_end;
    if (beyond >= alignment) {
      part_.warnings.push_back(
          fmt::format("{}: {} bytes after the last tensor are ignored", source_.name(), beyond));
    } else if (beyond == 0 && data_end % alignment != 0) {
      part_.warnings.push_back(
          fmt::format("{}: the padding after the last tensor is missing", source_.name()));
    }
    return {};
  }

  Result<void> check_overlaps() const {
    std::vector<const GgufTensor*> sorted;
    sorted.reserve(part_.tensors.size());
    for (const GgufTensor& tensor : part_.tensors) {
      sorted.push_back(&tensor);
    }
    std::sort(sorted.begin(), sorted.end(), [](const GgufTensor* a, const GgufTensor* b) {
      return a->file_offset != b->file_offset ? a->file_offset < b->file_offset
                                              : a->bytes < b->bytes;
    });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      const GgufTensor& before = *sorted[i - 1];
      const GgufTensor& after = *sorted[i];
      if (after.file_offset - before.file_offset < before.bytes) {
        return bad(ErrorCode::overlap, "tensor {} at byte {} overlaps tensor {} (bytes {} to {})",
                   quoted(after.name), after.file_offset, quoted(before.name), before.file_offset,
                   before.file_offset + before.bytes);
      }
    }
    return {};
  }

  ByteSource& source_;
  const GgufLimits& limits_;
  HeaderCursor cursor_;
  Part part_;
  std::uint64_t n_tensors_ = 0;
  std::uint64_t n_keys_ = 0;
};

}  // namespace

Result<Part> read_part(ByteSource& source, const GgufLimits& limits) {
  return PartReader(source, limits).read();
}

}  // namespace lm::gguf
