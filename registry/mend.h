/// Damaged blobs of stored models: only what is damaged is fetched again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "registry/pull.h"

namespace lm::registry {

/// Fetches the damaged or missing bytes of one layer from where the model came from and replaces
/// the blob, which stays as it is until every byte is right. Chunks that still match the checksums
/// kept beside the blob do not travel. Returns the bytes that travelled. Errors: offline, not_found
/// (the model came from nowhere that can be asked, or the bytes are no longer there), and those of
/// download_file.
Result<std::uint64_t> mend_blob(store::Store& store, const HubSettings& settings,
                                const store::Manifest& manifest, const store::Layer& layer,
                                const std::function<void(const PullEvent&)>& sink,
                                const std::atomic<bool>& stop);

}  // namespace lm::registry
