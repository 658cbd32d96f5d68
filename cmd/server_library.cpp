#include "cmd/server_library.h"

#include <algorithm>
#include <chrono>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/model_json.h"
#include "cmd/model_text.h"
#include "cmd/puller.h"
#include "registry/url.h"
#include "runtime/chat/default_template.h"
#include "runtime/model/model.h"
#include "store/digest.h"
#include "store/sha256.h"

namespace lm::cmd {
namespace {

using nlohmann::ordered_json;
using server::StoredModel;

constexpr std::size_t kOpenedModels = 16;

std::unexpected<api::ApiError> wrong(const Failure& failure, const std::string& name = {}) {
  return std::unexpected(api_error_of(failure, name));
}

}  // namespace

api::ApiError api_error_of(const Failure& failure, const std::string& name) {
  api::ApiError error{.status = 500, .code = failure.code, .message = failure.text(), .param = {}};
  if (failure.code == "not_found") {
    error.status = 404;
    if (!name.empty()) {
      error.message = fmt::format("model '{}' not found", name);
      error.param = "model";
    }
  } else if (failure.code == "invalid_name") {
    error.status = 400;
    error.message = fmt::format("invalid model name: {}", failure.text());
    error.param = "model";
  } else if (failure.code == "invalid_argument" || failure.code == "ambiguous" ||
             failure.code == "digest_mismatch" || failure.code == "unsupported") {
    error.status = 400;
  } else if (failure.code == "no_space") {
    error.status = 507;
  }
  return error;
}

std::string store_identity(const std::filesystem::path& home) {
  struct stat info{};
  const std::string what = ::stat(home.c_str(), &info) == 0
                               ? fmt::format("{}:{}", info.st_dev, info.st_ino)
                               : home.string();
  return store::sha256(what).hex().substr(0, 32);
}

Result<std::shared_ptr<const StoredModel>> ServerLibrary::read(store::OpenModel opened) const {
  auto source = std::make_shared<server::ModelSource>();
  source->name = opened.manifest.name;
  source->id = opened.id;
  for (std::size_t i = 0; i < opened.model_fds.size(); ++i) {
    source->files.emplace_back(::fcntl(opened.model_fds[i].get(), F_DUPFD_CLOEXEC, 0));
    source->labels.push_back(opened.model_fds.size() == 1
                                 ? opened.manifest.name
                                 : fmt::format("{} (part {})", opened.manifest.name, i + 1));
  }
  LM_TRY(ResolvedModel resolved, open_stored(std::move(opened)));
  std::string chat_template = chat_template_of(resolved);
  if (chat_template.empty()) {
    if (const auto fallback = default_template(resolved.file.metadata())) {
      chat_template = fallback->source;
    }
  }
  auto model = std::make_shared<StoredModel>();
  LM_TRY(model->facts, api::facts_of(resolved.file, source->name, chat_template));
  const store::Manifest& manifest = *resolved.manifest;
  model->facts.parameters = manifest.parameters;
  model->facts.system = manifest.system;
  for (const store::ManifestMessage& message : manifest.messages) {
    Message one;
    one.role = message.role;
    one.content = message.content;
    model->facts.messages.push_back(std::move(one));
  }
  source->weight_bytes = resolved.file.tensor_bytes();
  source->file_bytes = resolved.file.file_bytes();
  source->store_in_use = std::move(resolved.store_in_use);
  model->source = std::move(source);
  return std::shared_ptr<const StoredModel>(std::move(model));
}

api::ApiResult<std::shared_ptr<const StoredModel>> ServerLibrary::open(const std::string& name) {
  auto manifest = find_stored(*store_, name);
  if (!manifest) {
    return wrong(manifest.error(), name);
  }
  auto opened = store_->open_model(manifest->name, false);
  if (!opened) {
    return wrong(opened.error(), name);
  }
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = opened_.find(opened->id); known != opened_.end()) {
      return known->second;
    }
  }
  // Noted once a server and model, not for every request.
  if (auto used = store_->open_model(manifest->name, true)) {
    opened = std::move(used);
  }
  const std::string id = opened->id;
  auto model = read(std::move(*opened));
  if (!model) {
    return wrong(model.error());
  }
  const std::lock_guard lock(mutex_);
  if (opened_.emplace(id, *model).second) {
    order_.push_back(id);
    if (order_.size() > kOpenedModels) {
      opened_.erase(order_.front());
      order_.erase(order_.begin());
    }
  }
  return *model;
}

api::ApiResult<std::vector<server::ListedModel>> ServerLibrary::list() {
  const auto entries = store_->list();
  if (!entries) {
    return wrong(entries.error());
  }
  std::vector<server::ListedModel> out;
  for (const store::ModelEntry& entry : *entries) {
    out.push_back({entry.name, entry.modified_unix, listed_json(entry)});
  }
  return out;
}

api::ApiResult<ordered_json> ServerLibrary::show(const std::string& name, bool verbose) {
  auto manifest = find_stored(*store_, name);
  if (!manifest) {
    return wrong(manifest.error(), name);
  }
  auto opened = store_->open_model(manifest->name, false);
  if (!opened) {
    return wrong(opened.error(), name);
  }
  const auto resolved = open_stored(std::move(*opened));
  if (!resolved) {
    return wrong(resolved.error());
  }
  auto document = show_json(*resolved, verbose);
  if (!document) {
    return wrong(document.error());
  }
  return std::move(*document);
}

ordered_json ServerLibrary::details(const std::string& name) {
  const auto manifest = store_->find(name);
  return manifest ? details_json(manifest->architecture, manifest->quantization,
                                 manifest->parameter_count)
                  : details_json("", "", 0);
}

api::ApiResult<std::string> ServerLibrary::stored_name(const std::string& name) {
  auto manifest = find_stored(*store_, name);
  if (!manifest) {
    return wrong(manifest.error(), name);
  }
  return manifest->name;
}

api::ApiResult<void> ServerLibrary::copy(const std::string& source, const std::string& target) {
  const auto from = stored_name(source);
  if (!from) {
    return std::unexpected(from.error());
  }
  const auto to = registry::ModelRef::parse(target);
  if (!to) {
    return wrong(to.error());
  }
  if (auto done = store_->copy(*from, to->shortest()); !done) {
    return wrong(done.error(), source);
  }
  return {};
}

api::ApiResult<void> ServerLibrary::remove(const std::string& name) {
  if (auto done = store_->remove(name); !done) {
    return wrong(done.error(), name);
  }
  return {};
}

/// Requests may not send this server to any host of their choice.
Result<void> ServerLibrary::check_host(const registry::ModelRef& ref) const {
  std::string host = ref.host;
  if (!ref.url.empty()) {
    LM_TRY(const registry::Url url, registry::Url::parse(ref.url));
    host = url.host;
  }
  const bool known = host.empty() || host == "hf.co" || host == "huggingface.co" ||
                     host == "ollama.com" || host == "registry.ollama.ai" ||
                     std::ranges::find(insecure_hosts_, host) != insecure_hosts_.end();
  if (!known) {
    return failure("invalid_argument", host, "is no host that this server pulls from",
                   "start it with --insecure-host, or pull on the command line: lm pull");
  }
  return {};
}

api::ApiResult<void> ServerLibrary::pull(const std::string& name, const server::FrameSink& sink,
                                         const std::atomic<bool>& stop) {
  const auto ref = registry::ModelRef::parse(name);
  if (!ref) {
    return wrong(ref.error());
  }
  const auto hub = registry::hub_settings_from_environment();
  if (!hub) {
    return wrong(hub.error());
  }
  if (auto allowed = check_host(*ref); !allowed) {
    return wrong(allowed.error());
  }
  PullFrames frames;
  const auto on_event = [&](const registry::PullEvent& event) {
    if (const auto frame = frames.frame(event)) {
      sink(*frame);
    }
  };
  registry::PullOptions options;
  options.takes_parameter = takes_parameter;
  auto result = registry::pull(*store_, *hub, *ref, options, inspect_gguf, on_event, stop);
  if (!result) {
    return wrong(result.error());
  }
  store_.clean_up();
  return {};
}

namespace {

/// The members of a request for /api/create that change what a model says of itself.
Result<void> apply_members(const nlohmann::json& request, store::Manifest& manifest) {
  const auto text = [&request](const char* name, std::string& to) -> Result<void> {
    const auto found = request.find(name);
    if (found == request.end() || found->is_null()) {
      return {};
    }
    if (!found->is_string()) {
      return failure("invalid_argument", name, "must be a string");
    }
    to = found->get<std::string>();
    return {};
  };
  LM_CHECK(text("template", manifest.chat_template));
  LM_CHECK(text("system", manifest.system));
  if (const auto license = request.find("license"); license != request.end()) {
    manifest.licenses.clear();
    for (const auto& one : license->is_array() ? *license : nlohmann::json::array({*license})) {
      if (!one.is_string()) {
        return failure("invalid_argument", "license", "must be a string or a list of them");
      }
      manifest.licenses.push_back(one.get<std::string>());
    }
  }
  if (const auto messages = request.find("messages"); messages != request.end()) {
    manifest.messages.clear();
    for (const auto& one : *messages) {
      if (!one.is_object() || !one.contains("role") || !one["role"].is_string() ||
          !one.contains("content") || !one["content"].is_string()) {
        return failure("invalid_argument", "messages", "must be a list of {role, content}");
      }
      manifest.messages.push_back(
          {one["role"].get<std::string>(), one["content"].get<std::string>()});
    }
  }
  if (const auto parameters = request.find("parameters");
      parameters != request.end() && !parameters->is_null()) {
    if (!parameters->is_object()) {
      return failure("invalid_argument", "parameters", "must be an object");
    }
    for (const auto& [name, value] : parameters->items()) {
      manifest.parameters.erase(name);
      for (const auto& one : value.is_array() ? value : nlohmann::json::array({value})) {
        const std::string shown = one.is_string() ? one.get<std::string>() : one.dump();
        LM_CHECK(api::add_parameter(manifest.parameters, name, shown));
      }
    }
  }
  return {};
}

}  // namespace

api::ApiResult<void> ServerLibrary::create(const nlohmann::json& request,
                                           const server::FrameSink& sink) {
  const std::string name = request.contains("model") ? request["model"].get<std::string>()
                                                     : request["name"].get<std::string>();
  const auto ref = registry::ModelRef::parse(name);
  if (!ref) {
    return wrong(ref.error());
  }
  for (const char* unknown : {"quantize", "adapters"}) {
    if (const auto found = request.find(unknown);
        found != request.end() && !found->is_null() && !found->empty()) {
      return wrong(Failure("unsupported", unknown, "is not supported by this version of lm"));
    }
  }
  const auto from = request.find("from");
  const auto files = request.find("files");
  store::Manifest manifest;
  if (from != request.end() && from->is_string() && !from->get_ref<const std::string&>().empty()) {
    auto base = find_stored(*store_, from->get<std::string>());
    if (!base) {
      return wrong(base.error(), from->get<std::string>());
    }
    manifest = std::move(*base);
  } else if (files != request.end() && files->is_object() && !files->empty()) {
    sink({{"status", "parsing GGUF"}});
    std::vector<std::filesystem::path> paths;
    for (const auto& [file, digest_text] : files->items()) {
      if (file.empty() || file.front() == '/' || file.find("..") != std::string::npos ||
          !digest_text.is_string()) {
        return wrong(Failure("invalid_argument", "files", "must map clean file names to digests"));
      }
      const auto digest = store::Digest::parse(digest_text.get<std::string>());
      if (!digest) {
        return wrong(Failure("invalid_argument", "files", digest.error().problem));
      }
      const auto path = store_->readable_path(*digest);
      if (!path) {
        return wrong(Failure("invalid_argument", "files",
                             fmt::format("the blob of '{}' has not been uploaded", file)));
      }
      std::error_code ignored;
      manifest.layers.push_back({.kind = store::LayerKind::model,
                                 .digest = *digest,
                                 .size_bytes = std::filesystem::file_size(*path, ignored),
                                 .file_name = file});
      paths.push_back(*path);
      sink({{"status", "using existing layer " + digest->text()}});
    }
    const auto summary = inspect_gguf(paths);
    if (!summary) {
      return wrong(Failure("invalid_argument", "files", Failure(summary.error()).text()));
    }
    manifest.architecture = summary->architecture;
    manifest.quantization = summary->quantization;
    manifest.parameter_count = summary->parameter_count;
  } else {
    return wrong(Failure("invalid_argument", "from", "either from or files is required"));
  }
  if (auto applied = apply_members(request, manifest); !applied) {
    return wrong(applied.error());
  }
  manifest.name = ref->shortest();
  manifest.modified_unix = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  sink({{"status", "writing manifest"}});
  if (auto put = store_->put(manifest); !put) {
    return wrong(put.error());
  }
  sink({{"status", "success"}});
  return {};
}

api::ApiResult<bool> ServerLibrary::has_blob(const std::string& digest) {
  const auto parsed = store::Digest::parse(digest);
  if (!parsed) {
    return wrong(Failure("invalid_argument", "digest", "must be sha256: and 64 hex digits"));
  }
  return store_->has_blob(*parsed);
}

namespace {

/// Bytes on their way into the store, in a file of its tmp/ that goes with the object.
class Upload : public server::BlobUpload {
 public:
  Upload(store::Store& store, const std::string& digest) : store_(store) {
    if (const auto parsed = store::Digest::parse(digest)) {
      digest_ = *parsed;
      std::string pattern = (store.home() / "tmp" / "upload-XXXXXX").string();
      fd_ = store::Fd(::mkostemp(pattern.data(), O_CLOEXEC));
      path_ = pattern;
      good_ = static_cast<bool>(fd_);
    }
  }
  ~Upload() override {
    if (fd_) {
      ::unlink(path_.c_str());
    }
  }
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  bool take(std::string_view bytes) override {
    if (!digest_) {
      return true;  // the answer says what is wrong with it
    }
    while (good_ && !bytes.empty()) {
      const ssize_t n = ::write(fd_.get(), bytes.data(), bytes.size());
      good_ = n > 0;
      bytes.remove_prefix(good_ ? static_cast<std::size_t>(n) : 0);
    }
    return good_;
  }

  api::ApiResult<void> finish() override {
    if (!good_ || !digest_) {
      return wrong(Failure("io", "blob", "can't be stored"));
    }
    auto adopted = store_.adopt_file(
        path_, {.mode = store::AdoptMode::automatic, .digest = *digest_, .may_refer = false});
    if (!adopted) {
      Failure failed = adopted.error();
      if (failed.code == "digest_mismatch") {
        failed.problem = "digest mismatch: " + failed.problem;
      }
      return wrong(failed);
    }
    return {};
  }

 private:
  store::Store& store_;
  std::optional<store::Digest> digest_;
  std::string path_;
  store::Fd fd_;
  bool good_ = false;
};

}  // namespace

std::unique_ptr<server::BlobUpload> ServerLibrary::upload(const std::string& digest) {
  return std::make_unique<Upload>(*store_, digest);
}

}  // namespace lm::cmd
