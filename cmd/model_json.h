/// Models as JSON objects: the same that the HTTP API returns.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "runtime/gguf/gguf_file.h"
#include "store/store.h"

namespace lm::cmd {

/// The `details` object of a model.
nlohmann::ordered_json details_json(std::string_view architecture, std::string_view quantization,
                                    std::uint64_t parameter_count);
/// A row of GET /api/tags.
nlohmann::ordered_json listed_json(const store::ModelEntry& model);
/// Metadata of a file as one flat object; arrays longer than five become [] unless `verbose`.
/// general.name and the chat template are left out.
nlohmann::ordered_json metadata_json(const GgufFile& file, bool verbose);
/// One value; arrays longer than `max_elements` are cut to [].
nlohmann::ordered_json value_json(const MetadataValue& value, std::uint64_t max_elements);
/// `tensors` of show: [{name, type, shape}].
nlohmann::ordered_json tensors_json(const GgufFile& file);
/// Text of a document; bytes that are no UTF-8 become U+FFFD. `indent` -1: one line.
std::string dump_json(const nlohmann::ordered_json& document, int indent = 2);

}  // namespace lm::cmd
