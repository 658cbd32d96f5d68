/// partial/: unfinished downloads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/cleaner.h"
#include "store/file_ops.h"
#include "store/store.h"

namespace lm::store {

/// Opens `path` (partial/<stem>.part) for reading and writing, creating it when missing, and takes
/// its exclusive lock. With `wait` false: nullopt when another process or thread has it. The file
/// that is returned is the one that has the name now: whoever waited may find the blob finished, so
/// look for it (Store::has_blob) after the lock was granted, and remove the new empty file if it
/// is.
Result<std::optional<Fd>> lock_partial(const std::filesystem::path& path, bool wait);

/// All unfinished downloads; one whose journal is damaged is listed without a model's name.
Result<std::vector<PartialEntry>> list_partials(const Folder& partial);

/// Removes those of one model (any case of its name) that nobody is working on.
Result<void> clean_partials_of(const Folder& partial, std::string_view model_key, Cleaner& cleaner);

/// Removes those untouched for `min_age_s` that nobody is working on.
Result<void> clean_old_partials(const Folder& partial, std::int64_t min_age_s, Cleaner& cleaner);

/// Removes journals without a .part that are older than `min_age_s`, and half-written ones.
Result<void> clean_orphan_journals(const Folder& partial, std::int64_t min_age_s, Cleaner& cleaner);

}  // namespace lm::store
