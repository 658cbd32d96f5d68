#include "cmd/model_json.h"

#include <cstring>
#include <limits>

#include "cmd/format.h"

namespace lm::cmd {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kShortArray = 5;

template <class T>
T load(std::span<const std::byte> bytes, std::size_t offset) {
  T value{};
  if (offset + sizeof(T) <= bytes.size()) {
    std::memcpy(&value, bytes.data() + offset, sizeof(T));
  }
  return value;
}

std::size_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    case GgufType::string:
    case GgufType::array:
      return 0;
  }
  return 0;
}

ordered_json scalar_json(GgufType type, std::span<const std::byte> bytes, std::size_t at) {
  switch (type) {
    case GgufType::u8:
      return load<std::uint8_t>(bytes, at);
    case GgufType::i8:
      return load<std::int8_t>(bytes, at);
    case GgufType::boolean:
      return load<std::uint8_t>(bytes, at) != 0;
    case GgufType::u16:
      return load<std::uint16_t>(bytes, at);
    case GgufType::i16:
      return load<std::int16_t>(bytes, at);
    case GgufType::u32:
      return load<std::uint32_t>(bytes, at);
    case GgufType::i32:
      return load<std::int32_t>(bytes, at);
    case GgufType::f32:
      return load<float>(bytes, at);
    case GgufType::u64:
      return load<std::uint64_t>(bytes, at);
    case GgufType::i64:
      return load<std::int64_t>(bytes, at);
    case GgufType::f64:
      return load<double>(bytes, at);
    case GgufType::string:
      return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    case GgufType::array:
      break;
  }
  return ordered_json::array();
}

/// Strings of an array lie one after the other, each behind its length (u64; the reader has checked
/// them all).
ordered_json strings_json(std::span<const std::byte> bytes, std::uint64_t count) {
  ordered_json list = ordered_json::array();
  for (std::uint64_t i = 0; i < count && bytes.size() >= 8; ++i) {
    const std::uint64_t length = load<std::uint64_t>(bytes, 0);
    bytes = bytes.subspan(8);
    if (length > bytes.size()) {
      break;
    }
    list.push_back(scalar_json(GgufType::string, bytes.first(length), 0));
    bytes = bytes.subspan(length);
  }
  return list;
}

}  // namespace

ordered_json value_json(const MetadataValue& value, std::uint64_t max_elements) {
  if (value.type != GgufType::array) {
    return scalar_json(value.type, value.bytes, 0);
  }
  if (value.count > max_elements || value.element == GgufType::array) {
    return ordered_json::array();
  }
  if (value.element == GgufType::string) {
    return strings_json(value.bytes, value.count);
  }
  ordered_json list = ordered_json::array();
  const std::size_t step = scalar_bytes(value.element);
  for (std::uint64_t i = 0; i < value.count; ++i) {
    list.push_back(scalar_json(value.element, value.bytes, i * step));
  }
  return list;
}

ordered_json details_json(std::string_view architecture, std::string_view quantization,
                          std::uint64_t parameter_count) {
  return {{"parent_model", ""},
          {"format", "gguf"},
          {"family", architecture},
          {"families", ordered_json::array({architecture})},
          {"parameter_size", format_count(parameter_count)},
          {"quantization_level", quantization}};
}

ordered_json listed_json(const store::ModelEntry& model) {
  return {{"name", model.name},
          {"model", model.name},
          {"modified_at", format_time(model.modified_unix)},
          {"size", model.size_bytes},
          {"digest", model.id},
          {"details", details_json(model.architecture, model.quantization, model.parameter_count)}};
}

ordered_json metadata_json(const GgufFile& file, bool verbose) {
  ordered_json object = ordered_json::object();
  object["general.architecture"] = file.architecture();
  object["general.parameter_count"] = file.parameter_count();
  const std::uint64_t longest = verbose ? std::numeric_limits<std::uint64_t>::max() : kShortArray;
  for (const Metadata::Entry& entry : file.metadata().entries()) {
    if (entry.key == "general.name" || entry.key == "tokenizer.chat_template" ||
        entry.key == "general.parameter_count") {
      continue;
    }
    object[std::string(entry.key)] = value_json(entry.value, longest);
  }
  return object;
}

ordered_json tensors_json(const GgufFile& file) {
  ordered_json list = ordered_json::array();
  for (const GgufTensor& tensor : file.tensors()) {
    ordered_json shape = ordered_json::array();
    for (std::uint32_t d = 0; d < tensor.n_dims; ++d) {
      shape.push_back(tensor.ne[d]);
    }
    list.push_back({{"name", std::string(tensor.name)},
                    {"type", layout(tensor.dtype).name},
                    {"shape", shape}});
  }
  return list;
}

std::string dump_json(const ordered_json& document, int indent) {
  return document.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace lm::cmd
