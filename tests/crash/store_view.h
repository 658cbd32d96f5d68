/// What a store holds, read without its own code's help: no index, no locks, every blob hashed.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/crash/sandbox.h"

namespace lm::crash {

/// Name of every model -> its layers and settings as text, without the time of its last change.
using Models = std::map<std::string, std::string>;

struct StoreView {
  Models models;
  std::vector<std::string>
      lost;  ///< models that can't be read or whose blobs are not what they say
};

StoreView look_at(const Sandbox& sandbox);

/// Names that `lm list` prints; adds a test failure when it doesn't end well.
std::set<std::string> listed(const Sandbox& sandbox);
std::set<std::string> names_of(const Models& models);

/// `lm prune --all`.
void prune_all(const Sandbox& sandbox);
/// Files in the store that no model needs; none after prune_all.
std::vector<std::string> leaked(const Sandbox& sandbox);

}  // namespace lm::crash
