#include "runtime/model/weights.h"

#include <algorithm>

namespace lm {
namespace {

constexpr std::uint64_t kSlabAlignment = 256;

bool reads_host_memory(const Backend& device) {
  const DeviceKind kind = device.info().kind;
  return kind == DeviceKind::cpu || kind == DeviceKind::reference;
}

TensorRef make_ref(const GgufTensor& tensor, BufferIndex buffer, std::uint64_t offset) {
  return {tensor.dtype, buffer, offset, static_cast<std::uint32_t>(tensor.rows()),
          static_cast<std::uint32_t>(tensor.ne[0])};
}

}  // namespace

TensorRef Weights::find(std::string_view name, std::uint16_t device) const {
  const auto& refs = devices_[device].refs;
  const auto found = refs.find(std::string(name));
  return found == refs.end() ? TensorRef{} : found->second;
}

std::unique_ptr<Weights> Weights::outline(const GgufFile& file, std::uint16_t n_device) {
  auto weights = std::make_unique<Weights>();
  weights->devices_.resize(n_device);
  for (OnDevice& device : weights->devices_) {
    device.buffers.resize(2);  // the arena's place and one for all tensors
    for (const GgufTensor& tensor : file.tensors()) {
      device.refs.emplace(tensor.name, make_ref(tensor, 1, 0));
    }
  }
  return weights;
}

WeightsBuilder::WeightsBuilder(const GgufFile& file,
                               const std::vector<std::shared_ptr<Backend>>& devices)
    : file_(file), devices_(devices), wanted_(devices.size()) {}

void WeightsBuilder::add(const GgufTensor& tensor, std::uint16_t device) {
  auto& wanted = wanted_[device];
  if (std::find(wanted.begin(), wanted.end(), &tensor) == wanted.end()) {
    wanted.push_back(&tensor);
  }
}

Result<std::unique_ptr<Weights>> WeightsBuilder::build() {
  auto weights = std::make_unique<Weights>();
  weights->devices_.resize(devices_.size());
  for (std::uint16_t d = 0; d < devices_.size(); ++d) {
    Weights::OnDevice& to = weights->devices_[d];
    to.buffers.emplace_back();
    if (reads_host_memory(*devices_[d])) {
      LM_CHECK(bind_mapped(d, to));
    } else {
      LM_CHECK(bind_uploaded(d, to));
    }
  }
  return weights;
}

Result<void> WeightsBuilder::bind_mapped(std::uint16_t device, Weights::OnDevice& to) {
  std::vector<BufferIndex> of_part(file_.parts().size(), kNoBuffer);
  for (std::size_t part = 0; part < of_part.size(); ++part) {
    const std::span<const std::byte> mapping = file_.parts()[part]->mapping();
    if (!mapping.empty()) {
      of_part[part] = static_cast<BufferIndex>(to.buffers.size());
      LM_TRY(auto buffer, devices_[device]->import(mapping));
      to.buffers.push_back(std::move(buffer));
    }
  }
  for (const GgufTensor* tensor : wanted_[device]) {
    BufferIndex buffer = of_part[tensor->part];
    std::uint64_t offset = tensor->file_offset;
    LM_TRY(const auto bytes, file_.data(*tensor));
    if (buffer == kNoBuffer) {
      buffer = static_cast<BufferIndex>(to.buffers.size());
      offset = 0;
      LM_TRY(auto view, devices_[device]->import(bytes));
      to.buffers.push_back(std::move(view));
    }
    to.refs.emplace(tensor->name, make_ref(*tensor, buffer, offset));
    to.bytes += tensor->bytes;
  }
  return {};
}

/// Fills buffers one after the other, each as large as the device allows.
Result<void> WeightsBuilder::bind_uploaded(std::uint16_t device, Weights::OnDevice& to) {
  const std::uint64_t most = devices_[device]->info().max_buffer_bytes;
  std::vector<std::uint64_t> size;  // [buffer - 1]
  for (const GgufTensor* tensor : wanted_[device]) {
    const std::uint64_t bytes =
        (tensor->bytes + kSlabAlignment - 1) / kSlabAlignment * kSlabAlignment;
    if (size.empty() || bytes > most - std::min(size.back(), most)) {
      size.push_back(0);
    }
    to.refs.emplace(tensor->name,
                    make_ref(*tensor, static_cast<BufferIndex>(size.size()), size.back()));
    size.back() += bytes;
    to.bytes += bytes;
  }
  for (const std::uint64_t bytes : size) {
    LM_TRY(auto slab, devices_[device]->alloc(bytes));
    to.buffers.push_back(std::move(slab));
  }
  for (const GgufTensor* tensor : wanted_[device]) {
    LM_TRY(const auto bytes, file_.data(*tensor));
    const TensorRef& ref = to.refs.at(std::string(tensor->name));
    LM_CHECK(devices_[device]->upload(*to.buffers[ref.buffer], ref.offset, bytes));
  }
  return {};
}

}  // namespace lm
