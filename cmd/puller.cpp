#include "cmd/puller.h"

#include <chrono>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/format.h"
#include "cmd/output.h"
#include "cmd/progress.h"
#include "cmd/signals.h"
#include "runtime/model/model.h"
#include "server/api/generation_options.h"

namespace lm::cmd {
namespace {

using registry::PullEvent;
using Clock = std::chrono::steady_clock;

/// "sha256:8eeb52dfb3bb..." -> "8eeb52dfb3bb".
std::string short_digest(std::string_view digest) {
  digest.remove_prefix(digest.starts_with("sha256:") ? 7 : 0);
  return std::string(digest.substr(0, 12));
}

std::string item_label(const PullEvent& event) {
  return "pulling " + (event.digest.empty() ? event.file_name : short_digest(event.digest));
}

void draw(ProgressDisplay& display, const PullEvent& event) {
  switch (event.kind) {
    case PullEvent::Kind::status:
    case PullEvent::Kind::done:
      display.status(event.text);
      break;
    case PullEvent::Kind::warning:
      display.finish_line();
      print_warning(event.text);
      break;
    case PullEvent::Kind::file_started:
    case PullEvent::Kind::progress:
      display.update(item_label(event), event.completed_bytes, event.total_bytes);
      break;
  }
}

}  // namespace

bool takes_parameter(std::string_view name, std::string_view value) {
  api::ParameterTexts ignored;
  return api::is_parameter(name) && api::add_parameter(ignored, name, value).has_value();
}

std::optional<nlohmann::ordered_json> PullFrames::frame(const PullEvent& event) {
  switch (event.kind) {
    case PullEvent::Kind::status:
    case PullEvent::Kind::done:
      return nlohmann::ordered_json{{"status", event.text}};
    case PullEvent::Kind::warning:
      return std::nullopt;
    case PullEvent::Kind::file_started:
    case PullEvent::Kind::progress:
      break;
  }
  const auto now = Clock::now();
  const bool last = event.completed_bytes == event.total_bytes;
  if (event.kind == PullEvent::Kind::progress && !last &&
      now - last_ < std::chrono::milliseconds(100)) {
    return std::nullopt;
  }
  last_ = now;
  return nlohmann::ordered_json{{"status", item_label(event)},
                                {"digest", event.digest},
                                {"total", event.total_bytes},
                                {"completed", event.completed_bytes}};
}

registry::Result<registry::GgufSummary> inspect_gguf(
    const std::vector<std::filesystem::path>& parts) {
  // Errors cross from the right column to the left one: both carry the same five facts.
  const auto translate = [](const lm::Error& error) {
    return std::unexpected(store::Error{.code = store::ErrorCode::corrupt,
                                        .subject = error.subject,
                                        .problem = error.problem,
                                        .hint = error.hint,
                                        .os_error = error.os_error});
  };
  std::vector<std::unique_ptr<ByteSource>> sources;
  for (const std::filesystem::path& part : parts) {
    auto source = open_mapped(part);
    if (!source) {
      return translate(source.error());
    }
    sources.push_back(std::move(*source));
  }
  const auto file = GgufFile::read(std::move(sources));
  if (!file) {
    return translate(file.error());
  }
  auto summary = summarize(*file);
  if (!summary) {
    return translate(summary.error());
  }
  return registry::GgufSummary{.architecture = std::move(summary->architecture),
                               .quantization = std::move(summary->quantization),
                               .parameter_count = summary->parameter_count,
                               .has_chat_template = !summary->chat_template.empty()};
}

Result<registry::PullResult> pull_with_progress(LocalStore& store, const registry::ModelRef& ref,
                                                const registry::PullOptions& options, bool insecure,
                                                PullDisplay display) {
  LM_TRY(registry::HubSettings hub, registry::hub_settings_from_environment());
  hub.insecure = insecure;
  const GracefulInterrupt graceful;
  ProgressDisplay progress(display == PullDisplay::progress ? ProgressDisplay::Style::automatic
                                                            : ProgressDisplay::Style::silent);
  PullFrames frames;
  const auto sink = [&](const PullEvent& event) {
    if (display == PullDisplay::frames && event.kind != PullEvent::Kind::warning) {
      if (const auto frame = frames.frame(event)) {
        print(frame->dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
        flush();
      }
    } else if (display == PullDisplay::progress || event.kind == PullEvent::Kind::warning) {
      draw(progress, event);
    }
  };
  registry::PullOptions with_check = options;
  with_check.takes_parameter = takes_parameter;
  auto result = registry::pull(*store, hub, ref, with_check, inspect_gguf, sink, interrupt_flag());
  progress.finish_line();
  if (!result) {
    Failure failed = result.error();
    if (failed.exit == ExitCode::interrupted && failed.hint.empty()) {
      failed.hint = "what has arrived is kept; run the same command again to go on";
    }
    return std::unexpected(std::move(failed));
  }
  if (!options.dry_run) {
    store.clean_up();
  }
  return std::move(*result);
}

}  // namespace lm::cmd
