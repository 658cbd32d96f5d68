/// Typed view of a GGUF's key/value section. Values stay where they are in the source; nothing is
/// copied until asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/error.h"

namespace lm {

/// GGUF value types, ids as in the file.
enum class GgufType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};
std::string_view type_name(GgufType type);

/// One value. For arrays `element` and `count` are set and `bytes` spans the elements as they lie
/// in the file.
struct MetadataValue {
  GgufType type = GgufType::u8;
  GgufType element = GgufType::u8;
  std::uint64_t count = 0;
  std::span<const std::byte> bytes;  ///< little-endian payload; strings without their length
};

class Metadata {
 public:
  struct Entry {
    std::string_view key;
    MetadataValue value;
  };

  bool has(std::string_view key) const { return find(key) != nullptr; }
  const MetadataValue* find(std::string_view key) const;
  const std::vector<Entry>& entries() const { return entries_; }  ///< in file order

  // Getters accept any integer width whose value fits, and f32 or f64 for floats. A key that is
  // there with a wrong type is an error (bad_value naming key, found and expected type), also for
  // the optional ones; absent is not.
  Result<std::optional<std::int64_t>> try_int(std::string_view key) const;
  Result<std::optional<double>> try_float(std::string_view key) const;  ///< integers are accepted
  Result<std::optional<bool>> try_bool(std::string_view key) const;
  Result<std::optional<std::string_view>> try_string(std::string_view key) const;
  /// Integers of an array of any integer (or bool) element type; a scalar gives one element.
  Result<std::optional<std::vector<std::int64_t>>> try_ints(std::string_view key) const;
  Result<std::optional<std::vector<float>>> try_floats(
      std::string_view key) const;  ///< array of f32 or f64
  /// Views into the file, one per element.
  Result<std::optional<std::vector<std::string_view>>> try_strings(std::string_view key) const;

  /// As the above, with an error (missing) when absent.
  Result<std::int64_t> get_int(std::string_view key) const;
  Result<double> get_float(std::string_view key) const;
  Result<std::string_view> get_string(std::string_view key) const;
  /// As the above, with a default when absent.
  Result<std::int64_t> int_or(std::string_view key, std::int64_t fallback) const;
  Result<double> float_or(std::string_view key, double fallback) const;
  Result<bool> bool_or(std::string_view key, bool fallback) const;

  /// Used by the reader only: the caller has checked that the key is new.
  void add(std::string_view key, MetadataValue value);
  /// File name that errors begin with.
  void set_subject(std::string subject) { subject_ = std::move(subject); }
  const std::string& subject() const { return subject_; }

 private:
  std::string subject_;
  std::vector<Entry> entries_;
  std::map<std::string_view, std::size_t> index_;  ///< ordered: colliding hashes can't slow it down
};

}  // namespace lm
