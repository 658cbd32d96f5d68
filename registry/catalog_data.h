// Text of registry/catalog.json, embedded at build time.
#pragma once

namespace lm::registry {
extern const char* const kCatalogJson;
}
