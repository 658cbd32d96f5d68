/// The JSON text of a schema, with what `$ref` can name in it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "backends/error.h"

namespace lm::grammar {

/// A schema in the document, or a constant that a value must equal.
struct SchemaPlace {
  const nlohmann::json* json;
  std::string pointer;  ///< RFC 6901, "" for the whole document
  bool constant = false;
  int depth = 0;  ///< schemas around it
};

/// Immutable apart from the list of places, which grows as they are named.
class SchemaDocument {
 public:
  /// Parses. Errors: bad_value with the byte position, limit_exceeded (longer than 1 MiB, nested
  /// more than 128 deep).
  static Result<std::unique_ptr<SchemaDocument>> parse(std::string_view text);

  /// Number of the schema at `pointer`; the same place has one number.
  std::uint32_t place(const nlohmann::json& json, const std::string& pointer, bool constant,
                      int depth);
  const SchemaPlace& operator[](std::uint32_t number) const { return places_[number]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(places_.size()); }
  const nlohmann::json& root() const { return root_; }
  /// Of draft 3 to 7, by its `$schema` or by a list under `items`.
  bool is_old_draft() const { return old_draft_; }

  /// What a `$ref` names: "#", "#/pointer", "#anchor", or one of these behind an `$id` of the
  /// document. Errors: unsupported (another document), missing (nothing there).
  Result<std::uint32_t> resolve(std::string_view reference);

 private:
  void collect_names(const nlohmann::json& json, const std::string& pointer, bool is_root);

  nlohmann::json root_;
  bool old_draft_ = false;
  std::vector<SchemaPlace> places_;
  std::map<std::pair<std::string, bool>, std::uint32_t> numbers_;
  std::map<std::string, std::pair<const nlohmann::json*, std::string>, std::less<>> names_;
};

/// `pointer` with one more step, escaped.
std::string child_pointer(const std::string& pointer, std::string_view step);

}  // namespace lm::grammar
