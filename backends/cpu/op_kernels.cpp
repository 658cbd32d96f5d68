#include "backends/cpu/kernels/ops.h"

namespace lm::cpu {

const OpKernels& op_kernels(Isa isa) {
  static const OpKernels baseline = {norm_baseline, element_baseline, rope_baseline,
                                     attention_baseline, recurrent_baseline};
#if defined(__x86_64__)
  static const OpKernels avx2 = {norm_avx2, element_avx2, rope_avx2, attention_avx2,
                                 recurrent_avx2};
  static const OpKernels avx512 = {norm_avx512, element_avx512, rope_avx512, attention_avx512,
                                   recurrent_avx512};
  if (isa >= Isa::avx512) {
    return avx512;
  }
  if (isa >= Isa::avx2) {
    return avx2;
  }
#endif
  static_cast<void>(isa);
  return baseline;
}

}  // namespace lm::cpu
