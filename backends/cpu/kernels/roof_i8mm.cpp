#include "backends/cpu/kernels/roof_body.h"

namespace lm::cpu {
const RoofKernels roof_i8mm = kRoofKernels;
}
