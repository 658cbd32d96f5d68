#include "runtime/grammar/schema_document.h"

#include <utility>

#include <fmt/core.h>

#include "runtime/grammar/budget.h"

namespace lm::grammar {
namespace {

using nlohmann::json;

constexpr int kMaxJsonDepth = 128;

std::string percent_decoded(std::string_view text) {
  std::string out;
  const auto hex = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

/// Follows `pointer` from `from`; null when there is nothing. `steps` counts its steps.
const json* follow(const json& from, std::string_view pointer, int& steps) {
  const json* at = &from;
  while (!pointer.empty()) {
    pointer.remove_prefix(1);
    const std::size_t end = std::min(pointer.find('/'), pointer.size());
    std::string step;
    for (std::size_t i = 0; i < end; ++i) {
      if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
        step.push_back(pointer[++i] == '0' ? '~' : '/');
      } else {
        step.push_back(pointer[i]);
      }
    }
    pointer.remove_prefix(end);
    ++steps;
    if (at->is_object() && at->contains(step)) {
      at = &(*at)[step];
    } else if (at->is_array() && !step.empty() && step.size() < 9 &&
               step.find_first_not_of("0123456789") == std::string::npos &&
               std::stoul(step) < at->size()) {
      at = &(*at)[std::stoul(step)];
    } else {
      return nullptr;
    }
  }
  return at;
}

}  // namespace

std::string child_pointer(const std::string& pointer, std::string_view step) {
  std::string out = pointer + "/";
  for (const char c : step) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

Result<std::unique_ptr<SchemaDocument>> SchemaDocument::parse(std::string_view text) {
  if (text.size() > kMaxSourceBytes) {
    return fail(ErrorCode::limit_exceeded, "schema", "is longer than 1 MiB");
  }
  bool too_deep = false;
  auto document = std::make_unique<SchemaDocument>();
  try {
    document->root_ = json::parse(text, [&](int depth, json::parse_event_t, json&) {
      too_deep = too_deep || depth > kMaxJsonDepth;
      return !too_deep;
    });
  } catch (const json::exception& e) {
    // Its text names the position, behind the library's own prefix.
    const std::string_view what = e.what();
    const std::size_t colon = what.find("] ");
    return fail(ErrorCode::bad_value, "schema",
                fmt::format("is not JSON: {}",
                            colon == std::string_view::npos ? what : what.substr(colon + 2)));
  }
  if (too_deep) {
    return fail(ErrorCode::limit_exceeded, "schema",
                fmt::format("is nested more than {} deep", kMaxJsonDepth));
  }
  document->collect_names(document->root_, "", true);
  document->place(document->root_, "", false, 0);
  return document;
}

void SchemaDocument::collect_names(const json& at, const std::string& pointer, bool is_root) {
  if (at.is_object()) {
    const auto items = at.find("items");
    const auto draft = at.find("$schema");
    old_draft_ = old_draft_ || (items != at.end() && items->is_array()) ||
                 (is_root && draft != at.end() && draft->is_string() &&
                  draft->get_ref<const std::string&>().contains("draft-0"));
    for (const char* keyword : {"$anchor", "$dynamicAnchor"}) {
      if (const auto name = at.find(keyword); name != at.end() && name->is_string()) {
        names_.try_emplace("#" + name->get<std::string>(), &at, pointer);
      }
    }
    if (const auto id = at.find("$id"); id != at.end() && id->is_string() && !is_root) {
      names_.try_emplace(id->get<std::string>(), &at, pointer);
    }
    for (const auto& [key, value] : at.items()) {
      if (key != "enum" && key != "const") {
        collect_names(value, child_pointer(pointer, key), false);
      }
    }
  } else if (at.is_array()) {
    for (std::size_t i = 0; i < at.size(); ++i) {
      collect_names(at[i], fmt::format("{}/{}", pointer, i), false);
    }
  }
}

std::uint32_t SchemaDocument::place(const json& at, const std::string& pointer, bool constant,
                                    int depth) {
  const auto [known, fresh] = numbers_.try_emplace({pointer, constant}, size());
  if (fresh) {
    places_.push_back({&at, pointer, constant, depth});
  }
  return known->second;
}

Result<std::uint32_t> SchemaDocument::resolve(std::string_view reference) {
  if (root_.is_object() && root_.contains("$id") && root_["$id"].is_string()) {
    const std::string id = root_["$id"].get<std::string>();
    if (reference.starts_with(id) &&
        (reference.size() == id.size() || reference[id.size()] == '#')) {
      reference.remove_prefix(id.size());
    }
  }
  if (const auto named = names_.find(reference); named != names_.end()) {
    return place(*named->second.first, named->second.second, false, 1);
  }
  if (!reference.empty() && reference[0] != '#') {
    return fail(ErrorCode::unsupported, "", fmt::format("names another document ('{}')", reference),
                "put the schema it names under $defs");
  }
  const std::string pointer = percent_decoded(reference.empty() ? reference : reference.substr(1));
  if (!pointer.empty() && pointer[0] != '/') {
    return fail(ErrorCode::missing, "", fmt::format("names '{}', which is not there", reference));
  }
  int steps = 0;
  const json* found = follow(root_, pointer, steps);
  if (found == nullptr) {
    return fail(ErrorCode::missing, "", fmt::format("names '{}', which is not there", reference));
  }
  return place(*found, pointer, false, std::min(steps, 1));
}

}  // namespace lm::grammar
