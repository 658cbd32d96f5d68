#include "backends/module.h"

namespace lm {

const char* const kBuildStamp = LM_BUILD_STAMP;

}  // namespace lm
