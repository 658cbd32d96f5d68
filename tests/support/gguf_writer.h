/// Writes GGUF files in memory: tiny models, vocabularies, and files that are wrong on purpose.
///
///   GgufWriter w;
///   w.add_string("general.architecture", "llama").add_u32("llama.block_count", 2);
///   w.add_strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "a"});
///   w.add_tensor_f32("token_embd.weight", {8, 3}, values);
///   std::vector<std::byte> bytes = w.build();          // or w.save(path)
///
/// Everything a file claims about itself can be overridden (`claim_*`, `add_raw`, `Tensor` fields)
/// for hostile cases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "backends/dtype.h"
#include "backends/reference/dequant.h"
#include "runtime/gguf/metadata.h"

namespace lm::test {

using ByteVector = std::vector<std::byte>;

/// Appends little-endian fields.
class FieldWriter {
 public:
  template <class T>
  FieldWriter& number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    std::memcpy(bytes_.data() + at, &value, sizeof(T));
    return *this;
  }
  FieldWriter& u8(std::uint8_t v) { return number(v); }
  FieldWriter& u16(std::uint16_t v) { return number(v); }
  FieldWriter& u32(std::uint32_t v) { return number(v); }
  FieldWriter& u64(std::uint64_t v) { return number(v); }
  FieldWriter& f32(float v) { return number(v); }
  /// Length and bytes, as GGUF writes strings.
  FieldWriter& string(std::string_view text) { return u64(text.size()).raw(text); }
  FieldWriter& raw(std::string_view text) { return raw(std::as_bytes(std::span(text))); }
  FieldWriter& raw(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  FieldWriter& zeros(std::size_t n) {
    bytes_.resize(bytes_.size() + n);
    return *this;
  }
  /// Zeros up to a multiple of `alignment`.
  FieldWriter& pad(std::uint64_t alignment) {
    return zeros(static_cast<std::size_t>((alignment - bytes_.size() % alignment) % alignment));
  }
  std::size_t size() const { return bytes_.size(); }
  const ByteVector& bytes() const { return bytes_; }
  ByteVector take() { return std::move(bytes_); }

 private:
  ByteVector bytes_;
};

/// The GGUF type of a C++ type.
template <class T>
constexpr GgufType gguf_type_of() {
  if constexpr (std::is_same_v<T, bool>) {
    return GgufType::boolean;
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    return GgufType::u8;
  } else if constexpr (std::is_same_v<T, std::int8_t>) {
    return GgufType::i8;
  } else if constexpr (std::is_same_v<T, std::uint16_t>) {
    return GgufType::u16;
  } else if constexpr (std::is_same_v<T, std::int16_t>) {
    return GgufType::i16;
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    return GgufType::u32;
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return GgufType::i32;
  } else if constexpr (std::is_same_v<T, float>) {
    return GgufType::f32;
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    return GgufType::u64;
  } else if constexpr (std::is_same_v<T, std::int64_t>) {
    return GgufType::i64;
  } else {
    static_assert(std::is_same_v<T, double>, "no GGUF type for this C++ type");
    return GgufType::f64;
  }
}

class GgufWriter {
 public:
  /// A row of the tensor table and its data; the optional fields override what `build` would write.
  struct Tensor {
    std::string name;
    std::uint32_t type_id = 0;
    std::vector<std::uint64_t> ne;
    ByteVector data;
    std::optional<std::uint64_t> offset = {};
    std::optional<std::uint32_t> n_dims = {};
  };

  /// A number of any GGUF type, chosen by the C++ type: add("x", std::uint16_t{3}).
  template <class T>
  GgufWriter& add(std::string_view key, T value) {
    FieldWriter payload;
    if constexpr (std::is_same_v<T, bool>) {
      payload.u8(value ? 1 : 0);
    } else {
      payload.number(value);
    }
    return add_raw(key, static_cast<std::uint32_t>(gguf_type_of<T>()), payload.bytes());
  }
  GgufWriter& add_u32(std::string_view key, std::uint32_t v) { return add(key, v); }
  GgufWriter& add_i32(std::string_view key, std::int32_t v) { return add(key, v); }
  GgufWriter& add_u64(std::string_view key, std::uint64_t v) { return add(key, v); }
  GgufWriter& add_f32(std::string_view key, float v) { return add(key, v); }
  GgufWriter& add_bool(std::string_view key, bool v) { return add(key, v); }
  GgufWriter& add_string(std::string_view key, std::string_view text) {
    FieldWriter payload;
    payload.string(text);
    return add_raw(key, static_cast<std::uint32_t>(GgufType::string), payload.bytes());
  }

  /// An array of numbers, of the element type of T.
  template <class T>
  GgufWriter& add_array(std::string_view key, const std::vector<T>& values) {
    FieldWriter payload;
    payload.u32(static_cast<std::uint32_t>(gguf_type_of<T>())).u64(values.size());
    for (const T value : values) {
      if constexpr (std::is_same_v<T, bool>) {
        payload.u8(value ? 1 : 0);
      } else {
        payload.number(value);
      }
    }
    return add_raw(key, static_cast<std::uint32_t>(GgufType::array), payload.bytes());
  }
  GgufWriter& add_strings(std::string_view key, const std::vector<std::string>& texts) {
    FieldWriter payload;
    payload.u32(static_cast<std::uint32_t>(GgufType::string)).u64(texts.size());
    for (const std::string& text : texts) {
      payload.string(text);
    }
    return add_raw(key, static_cast<std::uint32_t>(GgufType::array), payload.bytes());
  }

  /// A key with any type id and any payload, right or wrong.
  GgufWriter& add_raw(std::string_view key, std::uint32_t type_id,
                      std::span<const std::byte> payload) {
    keys_.string(key).u32(type_id).raw(payload);
    ++n_keys_;
    has_alignment_ = has_alignment_ || key == "general.alignment";
    return *this;
  }

  /// `data` are the tensor's bytes, of any length: what is missing or too much is the caller's
  /// intention.
  GgufWriter& add_tensor(std::string_view name, DType type, std::vector<std::uint64_t> ne,
                         ByteVector data) {
    tensors_.push_back(
        {std::string(name), static_cast<std::uint32_t>(type), std::move(ne), std::move(data)});
    return *this;
  }
  GgufWriter& add_tensor(Tensor tensor) {
    tensors_.push_back(std::move(tensor));
    return *this;
  }
  GgufWriter& add_tensor_f32(std::string_view name, std::vector<std::uint64_t> ne,
                             std::span<const float> values) {
    const auto bytes = std::as_bytes(values);
    return add_tensor(name, DType::f32, std::move(ne), ByteVector(bytes.begin(), bytes.end()));
  }
  /// Stores `values` in a type that the reference can quantise to (f32, f16, bf16, q8_0, q4_0).
  GgufWriter& add_tensor_as(std::string_view name, DType type, std::vector<std::uint64_t> ne,
                            std::span<const float> values) {
    ByteVector data(static_cast<std::size_t>(row_bytes(type, values.size())));
    reference::quantize_row(type, values.data(), values.size(), data.data());
    return add_tensor(name, type, std::move(ne), std::move(data));
  }
  /// Zero bytes of the right length.
  GgufWriter& add_zeros(std::string_view name, DType type, std::vector<std::uint64_t> ne) {
    std::uint64_t rows = 1;
    for (std::size_t d = 1; d < ne.size(); ++d) {
      rows *= ne[d];
    }
    const std::uint64_t bytes = row_bytes(type, ne.front()) * rows;
    return add_tensor(name, type, std::move(ne), ByteVector(static_cast<std::size_t>(bytes)));
  }
  /// Values of a normal distribution times `scale`, the same for the same seed on every machine.
  GgufWriter& add_random(std::string_view name, DType type, std::vector<std::uint64_t> ne,
                         std::uint64_t seed, float scale = 1.0f) {
    std::uint64_t n = 1;
    for (const std::uint64_t d : ne) {
      n *= d;
    }
    std::mt19937_64 engine(seed);
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) {
      float sum = 0.0f;  // of 12 uniform values: close to normal, without a library's own sampling
      for (int i = 0; i < 12; ++i) {
        sum += static_cast<float>(engine() >> 40) * 0x1p-24f;
      }
      value = (sum - 6.0f) * scale;
    }
    return add_tensor_as(name, type, std::move(ne), values);
  }

  GgufWriter& claim_tensor_count(std::uint64_t n) {
    claimed_tensors_ = n;
    return *this;
  }
  GgufWriter& claim_key_count(std::uint64_t n) {
    claimed_keys_ = n;
    return *this;
  }

  /// The file. `general.alignment` is added when `alignment` is not 32 and the key is not there
  /// yet.
  ByteVector build(std::uint32_t version = 3, std::uint32_t alignment = 32) const {
    const bool add_alignment = alignment != 32 && !has_alignment_;
    FieldWriter out;
    out.raw("GGUF").u32(version);
    out.u64(claimed_tensors_.value_or(tensors_.size()));
    out.u64(claimed_keys_.value_or(n_keys_ + (add_alignment ? 1 : 0)));
    out.raw(keys_.bytes());
    if (add_alignment) {
      out.string("general.alignment").u32(static_cast<std::uint32_t>(GgufType::u32)).u32(alignment);
    }
    std::uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      out.string(tensor.name)
          .u32(tensor.n_dims.value_or(static_cast<std::uint32_t>(tensor.ne.size())));
      for (const std::uint64_t n : tensor.ne) {
        out.u64(n);
      }
      out.u32(tensor.type_id).u64(tensor.offset.value_or(offset));
      offset += (tensor.data.size() + alignment - 1) / alignment * alignment;
    }
    if (!tensors_.empty()) {
      out.pad(alignment);
      for (const Tensor& tensor : tensors_) {
        out.raw(tensor.data).pad(alignment);
      }
    }
    return out.take();
  }

  /// Writes `build(...)` to a file; false when that fails.
  bool save(const std::filesystem::path& path, std::uint32_t version = 3,
            std::uint32_t alignment = 32) const {
    const ByteVector bytes = build(version, alignment);
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    return file.flush().good();
  }

 private:
  FieldWriter keys_;
  std::uint64_t n_keys_ = 0;
  bool has_alignment_ = false;
  std::vector<Tensor> tensors_;
  std::optional<std::uint64_t> claimed_tensors_;
  std::optional<std::uint64_t> claimed_keys_;
};

}  // namespace lm::test
