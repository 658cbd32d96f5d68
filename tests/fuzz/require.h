/// Invariants of fuzz targets.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace lm::fuzz {

/// Ends the program, which is how a fuzz target says that it found something.
inline void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "fuzz: broken invariant: %s\n", what);
    std::abort();
  }
}

}  // namespace lm::fuzz
