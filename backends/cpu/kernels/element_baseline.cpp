#include "backends/cpu/kernels/element_body.h"

namespace lm::cpu {
const ElementKernels element_baseline = {gate, add, scale, softcap};
}
