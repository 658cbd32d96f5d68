/// What the parser of answers has to know of the tools that were offered.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

namespace lm {

class OfferedTools {
 public:
  /// From an array of tools as text ({type, function: {name, parameters}} or {name, parameters});
  /// what is malformed is left out. Empty text: no tools.
  explicit OfferedTools(std::string_view tools_json);

  /// Calls are looked for at all.
  bool any() const { return any_; }
  /// A tool of this name was offered, or names are not known.
  bool knows(std::string_view name) const;
  /// As `knows`, but only when it was named.
  bool names(std::string_view name) const { return names_.contains(name); }
  /// A name that begins with `prefix` was offered.
  bool begins_name(std::string_view prefix) const;
  /// The schema of the parameter says that it is a string and nothing else.
  bool is_string(std::string_view tool, std::string_view parameter) const;

 private:
  bool any_ = false;
  std::map<std::string, std::set<std::string, std::less<>>, std::less<>> names_;
};

}  // namespace lm
