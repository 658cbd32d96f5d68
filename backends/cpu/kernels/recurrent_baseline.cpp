#include "backends/cpu/kernels/recurrent_body.h"

namespace lm::cpu {
const RecurrentKernels recurrent_baseline = {conv, delta, delta_scratch_bytes};
}
