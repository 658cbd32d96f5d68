/// Model names as the store needs them: keys of manifests. The full grammar is registry's
/// (model_ref.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/error.h"

namespace lm::store {

/// ASCII lower case.
std::string lower_case(std::string_view text);

/// Adds ":latest" when no ':' stands right of the last '/'.
std::string with_tag(std::string_view name);

/// Refuses what must not become a file name or a line on a terminal: bytes other than letters,
/// digits and "._-:/", empty parts, parts that begin with '-' or '.', more than 512 bytes. Error
/// invalid_name.
Result<void> check_model_name(std::string_view name);

/// At most three of `names` that look like `wanted`: same beginning, or few letters apart. Best
/// first.
std::vector<std::string> near_matches(std::string_view wanted,
                                      const std::vector<std::string>& names);

}  // namespace lm::store
