#include "cmd/remote_headers.h"

#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "cmd/local_store.h"
#include "cmd/retry_note.h"
#include "cmd/signals.h"
#include "registry/ranged_file.h"
#include "registry/remote_models.h"
#include "runtime/gguf/sibling_header.h"

namespace lm::cmd {
namespace {

/// A failure of the hub on its way through the reader of headers, which knows only its own errors.
lm::Error as_read_error(const registry::Error& error) {
  return {lm::ErrorCode::io, error.subject, error.problem, error.hint};
}

/// A file that is asked only while its header is read: the header outlives the connection.
using Handle = std::shared_ptr<registry::RangedFile*>;

RangedSource::Fetch fetch_from(Handle file) {
  return [file = std::move(file)](std::uint64_t offset,
                                  std::uint64_t length) -> lm::Result<std::vector<std::byte>> {
    if (*file == nullptr) {
      return fail(lm::ErrorCode::io, "the hub", "only the header was fetched");
    }
    const auto bytes = (*file)->read(offset, length);
    if (!bytes) {
      return std::unexpected(as_read_error(bytes.error()));
    }
    std::vector<std::byte> copy(bytes->size());
    std::memcpy(copy.data(), bytes->data(), bytes->size());
    return copy;
  };
}

}  // namespace

Result<RemoteHeaders> fetch_headers(const registry::ModelRef& ref) {
  LM_TRY(const registry::HubSettings settings, registry::hub_settings_from_environment());
  const GracefulInterrupt graceful;
  registry::HttpClient http(settings, interrupt_flag(), print_retry);
  registry::HubClient hub(http, [](std::string text) { print_warning(text); });
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
  LM_TRY(const registry::Catalog catalog, registry::Catalog::load(store->home()));
  LM_TRY(registry::RemoteModels models, registry::remote_models(hub, catalog, ref, {}));
  RemoteHeaders result;
  result.repo = models.repo.id;
  result.default_quant = models.default_label;
  std::optional<lm::Error> last;
  for (const registry::ModelCandidate& candidate : models.models) {
    std::vector<std::unique_ptr<registry::RangedFile>> files;
    std::vector<Handle> handles;
    for (const registry::RepoFile& file : candidate.files) {
      files.push_back(
          std::make_unique<registry::RangedFile>(hub, models.repo.id, models.repo.commit, file));
      handles.push_back(std::make_shared<registry::RangedFile*>(files.back().get()));
    }
    const auto read = [&]() -> lm::Result<GgufFile> {
      const std::string& name = candidate.path();
      if (files.size() == 1) {
        const std::uint64_t size = candidate.files.front().size_bytes;
        std::vector<const GgufFile*> siblings;
        for (const RemoteHeader& known : result.quants) {
          siblings.push_back(known.file.get());
        }
        return read_header_like(siblings, name, size, fetch_from(handles.front()));
      }
      std::vector<std::unique_ptr<ByteSource>> parts;
      for (std::size_t i = 0; i < files.size(); ++i) {
        parts.push_back(std::make_unique<RangedSource>(
            candidate.files[i].path, candidate.files[i].size_bytes, fetch_from(handles[i])));
      }
      return GgufFile::read(std::move(parts));
    };
    auto header = read();
    for (std::size_t i = 0; i < files.size(); ++i) {
      result.fetched_bytes += files[i]->fetched_bytes();
      *handles[i] = nullptr;
    }
    if (http.stop()) {
      return interrupted("fit");
    }
    if (!header) {
      result.warnings.push_back(fmt::format("{}: {}", candidate.path(), header.error().problem));
      last = std::move(header).error();
      continue;
    }
    result.quants.push_back({candidate.label.empty() ? candidate.path() : candidate.label,
                             std::make_unique<GgufFile>(std::move(*header))});
  }
  if (result.quants.empty() && last) {
    return std::unexpected(Failure(*last));
  }
  return result;
}

}  // namespace lm::cmd
