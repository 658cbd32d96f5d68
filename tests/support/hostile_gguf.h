/// GGUF files that must be refused, each with the error expected of it. Built from a tiny valid
/// file.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "backends/error.h"
#include "tests/support/gguf_writer.h"

namespace lm::test {

struct HostileGguf {
  std::string name;
  ByteVector bytes;
  std::optional<ErrorCode> code;   ///< nothing: any error will do
  std::vector<std::string> words;  ///< each must stand in the problem or the hint
};

/// A valid file: three keys and no tensor.
inline GgufWriter tiny_keys() {
  GgufWriter w;
  w.add_string("general.architecture", "llama")
      .add_u32("llama.block_count", 1)
      .add_string("general.name", "tiny");
  return w;
}

/// A valid file: three keys, an F32 tensor [8, 2] and a Q8_0 tensor [32].
inline GgufWriter tiny_model() {
  GgufWriter w = tiny_keys();
  w.add_zeros("token_embd.weight", DType::f32, {8, 2})
      .add_zeros("blk.0.attn_q.weight", DType::q8_0, {32});
  return w;
}

/// The table. Every list below is one row of what a hostile file may try.
class HostileGgufs {
 public:
  HostileGgufs() {
    add_other_formats();
    add_versions();
    add_counts();
    add_strings();
    add_keys();
    add_values();
    add_arrays();
    add_alignments();
    add_shapes();
    add_types();
    add_offsets();
    add_tensor_names();
    add_truncations();
    add_lonely_parts();
  }
  std::vector<HostileGguf> take() { return std::move(cases_); }

 private:
  using Words = std::vector<std::string>;
  static constexpr std::uint64_t kMax64 = std::numeric_limits<std::uint64_t>::max();

  void add(std::string name, ByteVector bytes, std::optional<ErrorCode> code, Words words) {
    cases_.push_back({std::move(name), std::move(bytes), code, std::move(words)});
  }

  void add_other_formats() {
    using std::literals::operator""sv;
    const auto other = [&](std::string name, std::string_view start, std::string word,
                           std::size_t zeros = 64) {
      add("format: " + std::move(name), FieldWriter().raw(start).zeros(zeros).take(),
          ErrorCode::bad_magic, {"not a GGUF", std::move(word)});
    };
    other("LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
          "Git LFS pointer", 0);
    other("HTML with doctype", "<!DOCTYPE html><html><body>Sign in</body></html>", "HTML", 0);
    other("HTML in lower case", "<html lang=\"en\">", "HTML", 0);
    other("HTML after a BOM and blanks", "\xEF\xBB\xBF\r\n  <!doctype HTML>", "HTML", 0);
    other("XML error", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML", 0);
    other("JSON error", "{\"error\":\"Repository not found\"}", "JSON", 0);
    other("plain text", "Entry not found", "text", 0);
    other("safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}"sv, "safetensors");
    other("zip", "PK\x03\x04", "zip");
    other("gzip", "\x1f\x8b\x08", "gzip");
    other("zstd", "\x28\xb5\x2f\xfd", "zstd");
    other("xz",
          "\xfd"
          "7zXZ",
          "xz");
    other("bzip2", "BZh9", "bzip2");
    other("7-Zip", "7z\xbc\xaf\x27\x1c", "7-Zip");
    other("HDF5", "\x89HDF\r\n\x1a\n", "HDF5");
    other("pickle", "\x80\x02}", "pickle");
    other("ELF",
          "\x7f"
          "ELF",
          "program");
    other("GGML", "lmgg", "GGML");
    other("GGMF", "fmgg", "GGMF");
    other("GGJT", "tjgg", "GGJT");
    other("GGLA", "algg", "GGLA");
    other("reversed magic", "FUGG", "big-endian");
    other("zeros", "\0\0\0\0"sv, "zeros");
    other("noise", "\x91\x02\xfe\x13\x88", "no known model format");
    other("magic in lower case", "gguf\x03", "no known model format");
    other("magic one byte late", "\0GGUF"sv, "no known model format");
  }

  void add_versions() {
    const auto version = [&](std::uint32_t v, std::string word) {
      add(fmt::format("version {:#x}", v), tiny_model().build(v), ErrorCode::unsupported_version,
          {std::move(word)});
    };
    version(0, "version 0");
    version(1, "version 1");
    version(4, "version 4");
    version(255, "version 255");
    version(0xFFFFFFFF, "version 4294967295");
    version(0x03000000, "big-endian");
    version(0x02000000, "big-endian");
    version(0x00010000, "big-endian");
  }

  void add_counts() {
    for (const std::uint64_t n : {kMax64, std::uint64_t{1} << 63, kMax64 / 24 + 1,
                                  std::uint64_t{1} << 40, std::uint64_t{65'537}}) {
      add(fmt::format("{} tensors", n), tiny_model().claim_tensor_count(n).build(),
          ErrorCode::limit_exceeded, {"tensors", std::to_string(n), "65536"});
      add(fmt::format("{} keys", n), tiny_model().claim_key_count(n).build(),
          ErrorCode::limit_exceeded, {"keys", std::to_string(n), "65536"});
    }
    add("65536 tensors, two there", tiny_model().claim_tensor_count(65'536).build(),
        ErrorCode::truncated, {"truncated at", "65536 tensors"});
    add("65536 keys, three there", tiny_model().claim_key_count(65'536).build(),
        ErrorCode::truncated, {"truncated at", "65536 keys"});
    add("one key too many claimed", tiny_keys().claim_key_count(4).build(), ErrorCode::truncated,
        {"truncated at"});
    add("one tensor too many claimed", tiny_keys().claim_tensor_count(1).build(),
        ErrorCode::truncated, {"truncated at"});
    add("one key too few claimed", tiny_model().claim_key_count(2).build(), {}, {});
    add("tensor table read as keys", tiny_model().claim_key_count(5).claim_tensor_count(0).build(),
        {}, {});
  }

  void add_strings() {
    for (const std::uint64_t n :
         {kMax64, kMax64 - 7, std::uint64_t{1} << 63, std::uint64_t{1} << 32}) {
      const FieldWriter length = FieldWriter().u64(n).zeros(64);
      add(fmt::format("string of {} bytes", n), tiny_keys().add_raw("x", 8, length.bytes()).build(),
          ErrorCode::limit_exceeded, {"string", std::to_string(n)});
      const FieldWriter array = FieldWriter().u32(8).u64(2).string("ok").u64(n).zeros(64);
      add(fmt::format("string of {} bytes in an array", n),
          tiny_keys().add_raw("x", 9, array.bytes()).build(), ErrorCode::limit_exceeded,
          {"string", std::to_string(n)});
      add(fmt::format("key of {} bytes", n), header(0, 1).u64(n).zeros(64).take(),
          ErrorCode::limit_exceeded, {"key", std::to_string(n)});
      add(fmt::format("tensor name of {} bytes", n), header(1, 0).u64(n).zeros(64).take(),
          ErrorCode::limit_exceeded, {"name", std::to_string(n)});
    }
    add("string one byte past the end",
        tiny_keys().add_raw("x", 8, FieldWriter().u64(5).raw("four").bytes()).build(),
        ErrorCode::truncated, {"truncated at"});
    add("key one byte past the end", header(0, 1).u64(9).raw("12345678").take(),
        ErrorCode::truncated, {"truncated at"});
    add("string above the limit",
        tiny_keys().add_raw("x", 8, FieldWriter().u64((64 << 20) + 1).bytes()).build(),
        ErrorCode::limit_exceeded, {"67108865", "67108864"});
  }

  void add_keys() {
    add("empty key", tiny_keys().add_u32("", 1).build(), ErrorCode::bad_value, {"key 4", "empty"});
    add("key of 65536 bytes", tiny_keys().add_u32(std::string(65'536, 'k'), 1).build(),
        ErrorCode::limit_exceeded, {"65536", "65535"});
    add("key twice", tiny_keys().add_u32("x", 1).add_u32("x", 1).build(), ErrorCode::duplicate,
        {"'x'", "twice"});
    add("key twice with other types", tiny_keys().add_u32("x", 1).add_string("x", "1").build(),
        ErrorCode::duplicate, {"'x'"});
    add("architecture twice", tiny_keys().add_string("general.architecture", "qwen2").build(),
        ErrorCode::duplicate, {"general.architecture"});
    add("architecture is a number", GgufWriter().add_u32("general.architecture", 1).build(),
        ErrorCode::bad_value, {"general.architecture", "u32", "string"});
    add("architecture is an array",
        GgufWriter().add_strings("general.architecture", {"llama"}).build(), ErrorCode::bad_value,
        {"general.architecture", "array", "string"});
  }

  void add_values() {
    for (const std::uint32_t type : {13u, 14u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
      add(fmt::format("value type {}", type),
          tiny_keys().add_raw("x", type, FieldWriter().zeros(32).bytes()).build(),
          ErrorCode::bad_value, {"'x'", fmt::format("value type {}", type)});
      const FieldWriter array = FieldWriter().u32(type).u64(1).zeros(32);
      add(fmt::format("element type {}", type), tiny_keys().add_raw("x", 9, array.bytes()).build(),
          ErrorCode::bad_value, {"'x'", fmt::format("element type {}", type)});
      const FieldWriter empty = FieldWriter().u32(type).u64(0);
      add(fmt::format("empty array of element type {}", type),
          tiny_keys().add_raw("x", 9, empty.bytes()).build(), ErrorCode::bad_value,
          {"'x'", fmt::format("element type {}", type)});
    }
    for (const std::uint8_t value : {std::uint8_t{2}, std::uint8_t{255}}) {
      add(fmt::format("bool {}", value),
          tiny_keys().add_raw("x", 7, FieldWriter().u8(value).bytes()).build(),
          ErrorCode::bad_value, {"'x'", "bool", std::to_string(value)});
      const FieldWriter array = FieldWriter().u32(7).u64(3).u8(1).u8(0).u8(value);
      add(fmt::format("bool {} in an array", value),
          tiny_keys().add_raw("x", 9, array.bytes()).build(), ErrorCode::bad_value,
          {"'x'", "bool", std::to_string(value)});
    }
  }

  void add_arrays() {
    for (std::uint32_t type = 0; type <= 12; ++type) {
      const FieldWriter endless = FieldWriter().u32(type).u64(kMax64).zeros(64);
      add(fmt::format("2^64 - 1 elements of type {}", type),
          tiny_keys().add_raw("x", 9, endless.bytes()).build(), ErrorCode::limit_exceeded,
          {"'x'", "elements"});
      const FieldWriter long_array = FieldWriter().u32(type).u64(1 << 20).zeros(64);
      add(fmt::format("2^20 elements of type {}, 64 bytes there", type),
          tiny_keys().add_raw("x", 9, long_array.bytes()).build(), ErrorCode::truncated,
          {"'x'", "truncated at"});
    }
    for (const std::uint64_t n : {std::uint64_t{1} << 61, std::uint64_t{1} << 62,
                                  std::uint64_t{1} << 40, (std::uint64_t{16} << 20) + 1}) {
      const FieldWriter wrap = FieldWriter().u32(10).u64(n).zeros(64);
      add(fmt::format("{} elements of u64", n), tiny_keys().add_raw("x", 9, wrap.bytes()).build(),
          ErrorCode::limit_exceeded, {"'x'", std::to_string(n), "16777216"});
    }
    for (const std::uint32_t depth : {5u, 6u, 1'000u, 100'000u}) {
      FieldWriter nested;
      for (std::uint32_t d = 1; d < depth; ++d) {
        nested.u32(9).u64(1);
      }
      nested.u32(4).u64(1).u32(7);
      add(fmt::format("arrays nested {} deep", depth),
          tiny_keys().add_raw("x", 9, nested.bytes()).build(), ErrorCode::limit_exceeded,
          {"'x'", "nests", "4"});
    }
    const FieldWriter inner_type = FieldWriter().u32(9).u64(1).u32(77).u64(1).zeros(8);
    add("unknown element type in a nested array",
        tiny_keys().add_raw("x", 9, inner_type.bytes()).build(), ErrorCode::bad_value,
        {"'x'", "77"});
    const FieldWriter inner_count = FieldWriter().u32(9).u64(1).u32(4).u64(kMax64).zeros(8);
    add("endless nested array", tiny_keys().add_raw("x", 9, inner_count.bytes()).build(),
        ErrorCode::limit_exceeded, {"'x'"});
    const FieldWriter cut = FieldWriter().u32(8).u64(3).string("a").string("b").u64(2).raw("c");
    add("last string of an array cut", tiny_keys().add_raw("x", 9, cut.bytes()).build(),
        ErrorCode::truncated, {"truncated at"});
  }

  void add_alignments() {
    const auto alignment = [&](std::string name, const GgufWriter& writer) {
      add("alignment " + std::move(name), writer.build(), ErrorCode::bad_value,
          {"general.alignment"});
    };
    for (const std::uint32_t a : {0u, 1u, 2u, 4u, 7u, 12u, 24u, 31u, 33u, 48u, (1u << 20) + 1,
                                  1u << 21, 1u << 31, 0xFFFFFFFFu}) {
      alignment(std::to_string(a), tiny_model().add_u32("general.alignment", a));
    }
    alignment("-32", tiny_model().add_i32("general.alignment", -32));
    alignment("2^63", tiny_model().add_u64("general.alignment", std::uint64_t{1} << 63));
    alignment("as a float", tiny_model().add_f32("general.alignment", 32.0f));
    alignment("as a string", tiny_model().add_string("general.alignment", "32"));
    alignment("as a bool", tiny_model().add_bool("general.alignment", true));
    alignment("as an array", tiny_model().add_array<std::uint32_t>("general.alignment", {32}));
  }

  GgufWriter with_tensor(DType type, std::vector<std::uint64_t> ne,
                         std::optional<std::uint32_t> n_dims = {}) {
    GgufWriter w = tiny_keys();
    w.add_tensor({"bad.weight",
                  static_cast<std::uint32_t>(type),
                  std::move(ne),
                  ByteVector(64),
                  {},
                  n_dims});
    return w;
  }

  void add_shapes() {
    for (const std::uint32_t n : {0u, 5u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
      add(fmt::format("{} dimensions", n), with_tensor(DType::f32, {8, 1, 1, 1, 1}, n).build(),
          ErrorCode::bad_value, {"'bad.weight'", fmt::format("{} dimensions", n)});
    }
    for (std::size_t d = 0; d < 4; ++d) {
      for (const std::uint64_t n : {std::uint64_t{0}, std::uint64_t{1} << 63, kMax64}) {
        std::vector<std::uint64_t> ne(4, 1);
        ne[d] = n;
        add(fmt::format("{} values in dimension {}", n, d),
            with_tensor(DType::f32, std::move(ne)).build(), ErrorCode::bad_value,
            {"'bad.weight'", fmt::format("dimension {}", d)});
      }
    }
    const std::uint64_t k32 = std::uint64_t{1} << 32;
    const std::uint64_t k16 = std::uint64_t{1} << 16;
    const std::uint64_t k62 = std::uint64_t{1} << 62;
    for (const std::vector<std::uint64_t>& ne : {std::vector<std::uint64_t>{k32, k32},
                                                 {k62, 2},
                                                 {2, k62},
                                                 {k62, 4},
                                                 {k16, k16, k16, k16},
                                                 {3, kMax64 / 6 + 2, 2}}) {
      add(fmt::format("product of {} wraps", fmt::join(ne, " * ")),
          with_tensor(DType::f32, ne).build(), ErrorCode::bad_value, {"'bad.weight'", "product"});
    }
    add("bytes of F32 wrap", with_tensor(DType::f32, {k62}).build(), ErrorCode::bad_value,
        {"'bad.weight'", "2^64"});
    add("bytes of F64 wrap", with_tensor(DType::f64, {k32, k16, 1 << 13}).build(),
        ErrorCode::bad_value, {"'bad.weight'", "2^64"});
    for (const auto& [type, n] : {std::pair{DType::q8_0, 31u},
                                  {DType::q8_0, 33u},
                                  {DType::q4_0, 1u},
                                  {DType::q4_k, 255u},
                                  {DType::q4_k, 128u},
                                  {DType::q6_k, 32u},
                                  {DType::mxfp4, 16u},
                                  {DType::nvfp4, 32u},
                                  {DType::q1_0, 64u},
                                  {DType::iq1_s, 8u}}) {
      add(fmt::format("{} with rows of {}", layout(type).name, n), with_tensor(type, {n}).build(),
          ErrorCode::bad_value, {"'bad.weight'", layout(type).name, "multiple"});
    }
  }

  void add_types() {
    const auto type = [&](std::uint32_t id, std::string word) {
      GgufWriter w = tiny_keys();
      w.add_tensor({"bad.weight", id, {256}, ByteVector(1024)});
      add(fmt::format("tensor type {}", id), w.build(), ErrorCode::unsupported_type,
          {"'bad.weight'", std::move(word)});
    };
    for (const std::uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u}) {
      type(id, "requantise");
    }
    type(9, "Q8_1");
    type(15, "Q8_K");
    for (const std::uint32_t id : {43u, 44u, 100u, 255u, 0x80000000u, 0xFFFFFFFFu}) {
      type(id, fmt::format("unknown type {}", id));
    }
  }

  void add_offsets() {
    const auto second_at = [&](std::uint64_t offset) {
      GgufWriter w = tiny_keys();
      w.add_zeros("first.weight", DType::f32, {8, 4});
      w.add_tensor({"second.weight", 0, {8}, ByteVector(32), offset});
      return w;
    };
    for (const std::uint64_t offset :
         {std::uint64_t{1}, std::uint64_t{16}, std::uint64_t{33}, kMax64}) {
      add(fmt::format("offset {}", offset), second_at(offset).build(), ErrorCode::bad_value,
          {"'second.weight'", "multiple", std::to_string(offset)});
    }
    for (const std::uint64_t offset : {0u, 32u, 96u}) {
      add(fmt::format("overlap at {}", offset), second_at(offset).build(), ErrorCode::overlap,
          {"'first.weight'", "'second.weight'"});
    }
    add("misaligned for a larger alignment", second_at(128 + 32).build(3, 64), ErrorCode::bad_value,
        {"'second.weight'", "64"});
    add("offset wraps", second_at(kMax64 - 31).build(), ErrorCode::bad_value,
        {"'second.weight'", "2^64"});
    GgufWriter end_wraps = tiny_keys();
    end_wraps.add_tensor({"long.weight", 0, {(std::uint64_t{1} << 62) - 8}, ByteVector(32)});
    add("end wraps", end_wraps.build(), ErrorCode::bad_value, {"'long.weight'", "2^64"});
    for (const std::uint64_t offset :
         {std::uint64_t{160}, std::uint64_t{1} << 20, std::uint64_t{1} << 40,
          std::uint64_t{1} << 62, std::uint64_t{1} << 63}) {
      add(fmt::format("offset {} past the end", offset), second_at(offset).build(),
          ErrorCode::truncated, {"'second.weight'", "truncated at", "missing"});
    }
    GgufWriter same = tiny_keys();
    for (int i = 0; i < 3; ++i) {
      same.add_tensor({fmt::format("t{}", i), 0, {8}, ByteVector(32), 0});
    }
    add("three tensors at one place", same.build(), ErrorCode::overlap, {"'t"});
  }

  void add_tensor_names() {
    using std::literals::operator""sv;
    const auto named = [&](std::string_view first, std::string_view second) {
      GgufWriter w = tiny_keys();
      w.add_zeros(first, DType::f32, {8}).add_zeros(second, DType::f32, {8});
      return w.build();
    };
    add("empty tensor name", named("a", ""), ErrorCode::bad_value, {"tensor 2", "empty"});
    add("tensor name of 65 bytes", named("a", std::string(65, 'n')), ErrorCode::limit_exceeded,
        {"65", "64"});
    add("NUL in a tensor name", named("a", "b\0c"sv), ErrorCode::bad_value, {"NUL"});
    add("tensor name of one NUL", named("a", "\0"sv), ErrorCode::bad_value, {"NUL"});
    add("tensor twice", named("a.weight", "a.weight"), ErrorCode::duplicate,
        {"'a.weight'", "twice"});
  }

  void add_truncations() {
    const ByteVector whole = tiny_model().build();
    for (const std::size_t size : {0u, 1u, 3u, 4u, 7u, 8u, 15u, 23u, 24u, 31u, 40u, 100u}) {
      add(fmt::format("cut at {}", size), ByteVector(whole.begin(), whole.begin() + size),
          ErrorCode::truncated, {fmt::format("truncated at {} of", size)});
    }
    // The Q8_0 tensor's 34 bytes are followed by 30 of padding.
    const std::size_t end = whole.size() - 30;
    for (const std::size_t missing : {1u, 34u, 35u, 90u}) {
      add(fmt::format("cut {} bytes before the end", missing),
          ByteVector(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(end - missing)),
          ErrorCode::truncated,
          {fmt::format("truncated at {} of {} bytes", end - missing, end), "incomplete"});
    }
  }

  void add_lonely_parts() {
    const auto part = [&](auto no, auto count) {
      GgufWriter w = tiny_keys();
      w.add("split.no", no).add("split.count", count);
      return w.build();
    };
    add("part 1 of 3 alone", part(std::uint16_t{0}, std::uint16_t{3}), ErrorCode::missing,
        {"missing", "2, 3"});
    add("part 2 of 2 alone", part(std::uint16_t{1}, std::uint16_t{2}), ErrorCode::missing,
        {"missing", "1"});
    add("split.no = split.count", part(std::uint16_t{3}, std::uint16_t{3}), ErrorCode::bad_value,
        {"split.no"});
    add("negative split.no", part(std::int32_t{-1}, std::int32_t{3}), ErrorCode::bad_value,
        {"split.no"});
    add("negative split.count", part(std::int32_t{0}, std::int32_t{-3}), ErrorCode::bad_value,
        {"split.count"});
    add("2^40 parts", part(std::uint64_t{0}, std::uint64_t{1} << 40), ErrorCode::bad_value,
        {"split.count"});
    add("99999 parts", part(std::uint32_t{0}, std::uint32_t{99'999}), ErrorCode::missing,
        {"missing", "more"});
    add("split.count is a float", part(0.0f, 3.0f), ErrorCode::bad_value, {"split.count"});
    add("split.no is missing", tiny_keys().add("split.count", std::uint16_t{2}).build(),
        ErrorCode::missing, {"split.no"});
  }

  static FieldWriter header(std::uint64_t n_tensors, std::uint64_t n_keys) {
    FieldWriter w;
    w.raw("GGUF").u32(3).u64(n_tensors).u64(n_keys);
    return w;
  }

  std::vector<HostileGguf> cases_;
};

/// All files that a reader must refuse.
inline std::vector<HostileGguf> hostile_ggufs() {
  return HostileGgufs().take();
}

}  // namespace lm::test
