#include "backends/cpu/kernels/element_body.h"

namespace lm::cpu {
const ElementKernels element_avx2 = {gate, add, scale, softcap};
}
