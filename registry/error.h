/// The left column's error values under registry's own roof.
#pragma once

#include "store/error.h"

namespace lm::registry {

using store::Error;
using store::ErrorCode;
using store::Result;

}  // namespace lm::registry
