#include "backends/cpu/kernels/norm_body.h"

namespace lm::cpu {
const NormKernels norm_avx512 = {rms, layer};
}
