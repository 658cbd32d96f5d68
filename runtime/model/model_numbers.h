/// What a header says about a model, checked, before any weight is read.
#pragma once

#include <vector>

#include "runtime/gguf/gguf_file.h"
#include "runtime/model/architecture.h"
#include "runtime/model/tensor_spec.h"

namespace lm {

struct ModelNumbers {
  const Architecture* architecture = nullptr;
  Hparams hparams;
};

/// Architecture and numbers. Errors name the key: unsupported_arch (lists what is supported and the
/// nearest relative), missing, bad_value, shape_mismatch.
Result<ModelNumbers> read_numbers(const GgufFile& file);

/// The file's tensor for each of `specs`, in their order; null where an optional one is not there.
/// Errors name the tensor: missing, shape_mismatch, unsupported_type.
Result<std::vector<const GgufTensor*>> find_tensors(const GgufFile& file,
                                                    const std::vector<TensorSpec>& specs);

}  // namespace lm
