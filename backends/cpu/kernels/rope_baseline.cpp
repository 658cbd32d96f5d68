#include "backends/cpu/kernels/rope_body.h"

namespace lm::cpu {
const RopeKernels rope_baseline = {rotate, to_f16};
}
