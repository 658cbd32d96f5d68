#include "backends/vulkan/emit.h"

#include <algorithm>
#include <cctype>

namespace lm::vulkan {
namespace {

constexpr DType kKvTypes[] = {DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_0};
constexpr std::uint64_t kAlign = 256;

}  // namespace

std::string type_suffix(DType dtype) {
  std::string name = layout(dtype).name;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

bool weight_type_known(DType dtype) {
  return !find_shader("matvec_" + type_suffix(dtype)).empty();
}

bool kv_type_known(DType dtype) {
  return std::find(std::begin(kKvTypes), std::end(kKvTypes), dtype) != std::end(kKvTypes);
}

std::uint32_t kv_type_number(DType dtype) {
  return static_cast<std::uint32_t>(std::find(std::begin(kKvTypes), std::end(kKvTypes), dtype) -
                                    std::begin(kKvTypes));
}

void emit(const ops::Copy&, Emitter&) {
  LM_ASSERT(false, "a copy reached a device");
}

std::uint64_t Emitter::scratch(std::uint64_t bytes) {
  const std::uint64_t at = scratch_used_;
  scratch_used_ += (bytes + kAlign - 1) / kAlign * kAlign;
  scratch_bytes = std::max(scratch_bytes, scratch_used_);
  uses_scratch.back() = true;
  return scratch_address_ + at;
}

void Emitter::emit(const Op& op) {
  scratch_used_ = 0;
  uses_scratch.push_back(false);
  std::visit([this](const auto& o) { vulkan::emit(o, *this); }, op);
  ++op_;
}

}  // namespace lm::vulkan
