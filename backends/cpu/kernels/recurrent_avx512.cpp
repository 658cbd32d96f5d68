#include "backends/cpu/kernels/recurrent_body.h"

namespace lm::cpu {
const RecurrentKernels recurrent_avx512 = {conv, delta, delta_scratch_bytes};
}
