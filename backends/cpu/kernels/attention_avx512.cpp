#include "backends/cpu/kernels/attention_body.h"

namespace lm::cpu {
const AttentionKernels attention_avx512 = {scratch_bytes, run, combine};
}
