#include "cmd/resolve.h"

#include <algorithm>

#include <fmt/format.h>

#include "cmd/puller.h"
#include "cmd/signals.h"

namespace lm::cmd {
namespace {

bool may_be_id(std::string_view argument) {
  return argument.size() >= 4 && argument.size() <= 64 &&
         argument.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

/// Calls `attempt` with each spelling until one is not "not_found"; the first error is the one to
/// show.
template <class Attempt>
auto first_found(const std::vector<std::string>& spellings, Attempt&& attempt) {
  auto result = attempt(spellings.front());
  for (std::size_t i = 1;
       i < spellings.size() && !result && result.error().code == store::ErrorCode::not_found; ++i) {
    auto next = attempt(spellings[i]);
    if (next || next.error().code != store::ErrorCode::not_found) {
      return next;
    }
  }
  return result;
}

Result<ResolvedModel> open_path(const std::string& path) {
  set_mapped_file_name(path);
  LM_TRY(GgufFile file, GgufFile::open(path));
  std::vector<std::filesystem::path> paths;
  for (const auto& part : file.parts()) {
    paths.emplace_back(part->name());
  }
  return ResolvedModel{.name = path,
                       .file = std::move(file),
                       .manifest = std::nullopt,
                       .id = {},
                       .paths = std::move(paths)};
}

}  // namespace

Result<ResolvedModel> open_stored(store::OpenModel opened) {
  set_mapped_file_name(opened.manifest.name);
  if (opened.model_fds.empty()) {
    return failure("corrupt", opened.manifest.name, "has no model file",
                   "run: lm rm and lm pull again");
  }
  std::vector<std::unique_ptr<ByteSource>> parts;
  for (std::size_t i = 0; i < opened.model_fds.size(); ++i) {
    // Messages name the model; a part of a split set also by its number.
    std::string label = opened.model_fds.size() == 1
                            ? opened.manifest.name
                            : fmt::format("{} (part {})", opened.manifest.name, i + 1);
    LM_TRY(auto part, map_fd(opened.model_fds[i].get(), std::move(label)));
    parts.push_back(std::move(part));
  }
  LM_TRY(GgufFile file, GgufFile::read(std::move(parts)));
  return ResolvedModel{.name = opened.manifest.name,
                       .file = std::move(file),
                       .manifest = std::move(opened.manifest),
                       .id = std::move(opened.id),
                       .paths = std::move(opened.model_paths),
                       .store_in_use = std::move(opened.store_in_use)};
}

Result<std::vector<std::string>> stored_spellings(const store::Store& store,
                                                  const std::string& argument) {
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(argument));
  std::vector<std::string> spellings;
  const auto add = [&spellings](std::string text) {
    if (std::ranges::find(spellings, text) == spellings.end()) {
      spellings.push_back(std::move(text));
    }
  };
  add(ref.shortest());
  if (may_be_id(argument)) {
    add(argument);
  }
  const registry::ModelRef hub = ref.on_hub();
  add(hub.shortest());
  if (hub.is_hub() && ref.tag.empty()) {
    // A repository without a tag means the quant that was pulled from it, if there is only one.
    LM_TRY(const std::vector<store::ModelEntry> quants, store.list("hf.co/" + hub.repo() + ":"));
    if (quants.size() == 1) {
      add(quants.front().name);
    }
  }
  return spellings;
}

Result<store::Manifest> find_stored(const store::Store& store, const std::string& argument) {
  LM_TRY(const std::vector<std::string> spellings, stored_spellings(store, argument));
  auto manifest =
      first_found(spellings, [&store](const std::string& name) { return store.find(name); });
  if (!manifest && manifest.error().code == store::ErrorCode::not_found) {
    LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(argument));
    if (const auto known = registry::stored_name(store, ref)) {
      manifest = store.find(*known);
    }
  }
  if (!manifest) {
    return std::unexpected(Failure(manifest.error()));
  }
  return std::move(*manifest);
}

Result<ResolvedModel> resolve_model(const std::string& argument, const ResolveOptions& options) {
  if (registry::is_local_path(argument)) {
    return open_path(argument);
  }
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(argument));
  std::optional<store::Result<store::OpenModel>> found;
  {
    LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::look));
    LM_TRY(const std::vector<std::string> spellings, stored_spellings(*store, argument));
    const auto open = [&](const std::string& name) {
      return store->open_model(name, options.for_running);
    };
    found = first_found(spellings, open);
    if (!*found && found->error().code == store::ErrorCode::not_found) {
      // Several quants of a repository that was named without one: the first in the hub's order.
      if (const auto known = registry::stored_name(*store, ref)) {
        found = open(*known);
      }
    }
  }
  auto& opened = *found;
  if (opened) {
    return open_stored(std::move(*opened));
  }
  if (opened.error().code != store::ErrorCode::not_found || !options.pull_when_absent) {
    return std::unexpected(Failure(opened.error()));
  }
  LM_TRY(LocalStore store, LocalStore::open(LocalStore::Use::change));
  LM_TRY(const registry::PullResult pulled,
         pull_with_progress(store, ref, {}, options.insecure, PullDisplay::progress));
  LM_TRY(store::OpenModel fresh, store->open_model(pulled.name));
  return open_stored(std::move(fresh));
}

}  // namespace lm::cmd
