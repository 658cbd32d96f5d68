#include "registry/update.h"

namespace lm::registry {
namespace {

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

std::optional<Origin> origin_of(const store::Manifest& manifest) {
  Origin origin;
  origin.options.store_as = manifest.name;
  const bool from_registry = manifest.source_url.find("/manifests/") != std::string::npos;
  if (manifest.source_repo.empty() || from_registry) {
    // A registry's name, or the address of a file.
    const auto ref = ModelRef::parse(from_registry ? manifest.source_path : manifest.source_url);
    if (!ref || from_registry != ref->is_registry() || from_registry != ref->url.empty()) {
      return std::nullopt;
    }
    origin.ref = *ref;
    return origin;
  }
  const auto ref = ModelRef::parse("hf.co/" + manifest.source_repo);
  if (!ref || manifest.source_path.empty()) {
    return std::nullopt;
  }
  origin.ref = *ref;
  origin.options.file = manifest.source_path;
  origin.options.file_is_hint = true;
  origin.options.quant = manifest.quantization;
  origin.options.revision = manifest.source_revision;
  origin.pinned = is_commit(manifest.source_revision);
  return origin;
}

}  // namespace lm::registry
