#include "backends/cpu/kernels/rope_body.h"

namespace lm::cpu {
const RopeKernels rope_avx2 = {rotate, to_f16};
}
