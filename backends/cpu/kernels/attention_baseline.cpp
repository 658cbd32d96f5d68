#include "backends/cpu/kernels/attention_body.h"

namespace lm::cpu {
const AttentionKernels attention_baseline = {scratch_bytes, run, combine};
}
