#include "cmd/repl_commands.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "cmd/command.h"
#include "cmd/external_editor.h"
#include "cmd/model_text.h"
#include "cmd/output.h"
#include "cmd/puller.h"
#include "cmd/settings.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

using Handler = Result<void> (*)(ReplState& state, const std::string& argument);

struct SlashCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  Handler run;
};

std::string trimmed(std::string text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  const std::size_t end = text.find_last_not_of(" \t\n");
  return begin == std::string::npos ? std::string() : text.substr(begin, end - begin + 1);
}

/// Splits off the first word.
std::string take_word(std::string& text) {
  text = trimmed(std::move(text));
  const std::size_t end = std::min(text.find_first_of(" \t\n"), text.size());
  std::string word = text.substr(0, end);
  text = trimmed(text.substr(end));
  return word;
}

/// A value that may stand in """...""" or "...".
std::string unquoted(std::string text) {
  for (const std::string_view quote : {"\"\"\"", "\""}) {
    if (text.size() >= 2 * quote.size() && text.starts_with(quote) && text.ends_with(quote)) {
      return text.substr(quote.size(), text.size() - 2 * quote.size());
    }
  }
  return text;
}

std::unexpected<Failure> wrong(std::string subject, std::string problem, std::string hint = {}) {
  return failure("invalid_argument", std::move(subject), std::move(problem), std::move(hint));
}

Result<void> no_argument(std::string_view name, const std::string& argument) {
  if (!argument.empty()) {
    return wrong(std::string(name), "takes no argument");
  }
  return {};
}

// --- leaving, clearing, going back ---

Result<void> leave(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/bye", argument));
  state.leave = true;
  return {};
}

Result<void> clear(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/clear", argument));
  state.session->clear();
  print_note("The conversation is empty again.");
  return {};
}

Result<void> undo(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/undo", argument));
  if (!state.session->undo()) {
    return wrong("/undo", "there is nothing to take back");
  }
  print_note("The last message and its answer are taken back.");
  return {};
}

Result<void> retry(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/retry", argument));
  return ask_and_print(state, Ask::again, {});
}

Result<void> edit(ReplState& state, const std::string& argument) {
  LM_TRY(const SettingValue editor, setting("LM_EDITOR"));
  const auto text = edit_text(editor.text, argument);
  if (!text || trimmed(*text).empty()) {
    return {};
  }
  return ask_and_print(state, Ask::message, *text);
}

// --- models ---

Result<void> load(ReplState& state, const std::string& argument) {
  if (argument.empty()) {
    return wrong("/load", "needs a model's name");
  }
  LM_TRY(ResolvedModel resolved, resolve_model(argument, {.for_running = true}));
  LM_TRY(const LoadSettings settings, with_parameters(state.settings.load, resolved.manifest,
                                                      state.session->choices().parameters));
  LM_TRY(std::unique_ptr<LoadedModel> loaded, load_model(std::move(resolved), settings));
  ChatChoices choices{.parameters = state.session->choices().parameters,
                      .system = std::nullopt,
                      .think = std::nullopt,
                      .long_prompt = LongPrompt::drop_messages};
  LM_TRY(state.session, ChatSession::create(std::move(loaded), std::move(choices)));
  state.last_answer.reset();
  print_note(fmt::format("Now talking to {}.", state.session->loaded().name));
  return {};
}

Result<void> save(ReplState& state, const std::string& argument) {
  LM_TRY(const registry::ModelRef ref, registry::ModelRef::parse(argument));
  LM_TRY(const LocalStore store, LocalStore::open(LocalStore::Use::change));
  const LoadedModel& loaded = state.session->loaded();
  store::Manifest manifest;
  if (loaded.manifest) {
    LM_TRY(manifest, store->find(loaded.manifest->name));
  } else {
    LM_TRY(const ModelSummary summary, summarize(loaded.model->file()));
    manifest.architecture = summary.architecture;
    manifest.quantization = summary.quantization;
    manifest.parameter_count = summary.parameter_count;
    for (const auto& part : loaded.model->file().parts()) {
      LM_TRY(store::Layer layer, store->add_file(part->name()));
      manifest.layers.push_back(std::move(layer));
    }
  }
  manifest.name = ref.shortest();
  manifest.parameters = state.session->parameters();
  manifest.system = state.session->system();
  manifest.messages.clear();
  for (const Message& message : state.session->messages()) {
    if (message.role != "system" || message.content != manifest.system) {
      manifest.messages.push_back({message.role, message.content});
    }
  }
  manifest.modified_unix = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  LM_CHECK(store->put(manifest));
  print_note(fmt::format("Saved as '{}'.", manifest.name));
  return {};
}

Result<void> list(ReplState&, const std::string& argument) {
  std::vector<std::string> words;
  if (!argument.empty()) {
    words.push_back(argument);
  }
  CommandLine line{.command = "list", .arguments = words};
  LM_CHECK(list_command(line));
  flush();
  return {};
}

// --- settings ---

Result<void> set_parameter(ReplState& state, std::string argument) {
  const std::string name = take_word(argument);
  std::vector<std::string> values;
  if (name == "stop") {
    while (!argument.empty()) {
      values.push_back(unquoted(take_word(argument)));
    }
  } else if (!argument.empty()) {
    values.push_back(unquoted(argument));
  }
  if (name.empty() || values.empty()) {
    return wrong("/set parameter", "needs a name and a value");
  }
  LM_CHECK(state.session->set_parameter(name, values));
  print_note(fmt::format("Set parameter '{}' to '{}'.", name, fmt::join(values, "', '")));
  return {};
}

Result<void> set_thinking(ReplState& state, const std::string& level) {
  constexpr std::array<std::string_view, 6> kLevels{"true",   "false", "low",
                                                    "medium", "high",  "max"};
  if (std::ranges::find(kLevels, level) == kLevels.end()) {
    return wrong("/set think", fmt::format("'{}' is none of low, medium, high, max", level));
  }
  LM_CHECK(state.session->set_think(level));
  print_note(level == "false" ? "Thinking is off." : "Thinking is on.");
  return {};
}

Result<void> set(ReplState& state, const std::string& argument) {
  std::string rest = argument;
  const std::string what = take_word(rest);
  struct Toggle {
    std::string_view name;
    void (*apply)(ReplState& state);
    std::string_view said;
  };
  constexpr std::array<Toggle, 6> kToggles{{
      {"history", [](ReplState& s) { s.history.keep(true); }, "History is kept."},
      {"nohistory", [](ReplState& s) { s.history.keep(false); }, "History is not kept."},
      {"wordwrap", [](ReplState& s) { s.settings.word_wrap = true; }, "Words are wrapped."},
      {"nowordwrap", [](ReplState& s) { s.settings.word_wrap = false; }, "Words are not wrapped."},
      {"verbose", [](ReplState& s) { s.settings.verbose = true; }, "Statistics are shown."},
      {"quiet", [](ReplState& s) { s.settings.verbose = false; }, "Statistics are not shown."},
  }};
  if (what == "parameter") {
    return set_parameter(state, rest);
  }
  if (what == "system") {
    state.session->set_system(unquoted(rest));
    print_note("The system message is set.");
    return {};
  }
  if (what == "think" || what == "nothink") {
    return set_thinking(state, what == "nothink" ? "false" : rest.empty() ? "true" : rest);
  }
  const auto toggle = std::ranges::find(kToggles, what, &Toggle::name);
  if (toggle == kToggles.end()) {
    return wrong("/set", fmt::format("'{}' can't be set", what), "type /? set");
  }
  toggle->apply(state);
  print_note(toggle->said);
  return {};
}

// --- looking ---

Result<void> show(ReplState& state, const std::string& argument) {
  const LoadedModel& loaded = state.session->loaded();
  std::string text;
  if (argument == "parameters") {
    text = api::parameters_text(state.session->parameters());
  } else if (argument == "system") {
    text = state.session->system();
  } else if (argument == "template") {
    text = loaded.template_source;
  } else if (argument == "info" || argument == "license" || argument == "modelfile") {
    LM_TRY(const ResolvedModel model, resolve_model(loaded.name));
    if (argument == "license") {
      text = license_text(model);
    } else if (argument == "modelfile") {
      text = print_modelfile(modelfile_of(model));
    } else {
      LM_TRY(text, show_text(model, false));
    }
  } else {
    return wrong("/show", "takes info, license, modelfile, parameters, system or template");
  }
  print(text.empty() ? "(none)\n"
                     : escape_lines_for_terminal(text) + (text.ends_with('\n') ? "" : "\n"));
  flush();
  return {};
}

Result<void> context(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/context", argument));
  const std::uint32_t size = state.session->loaded().engine->n_ctx();
  const std::uint32_t used = state.last_answer ? state.last_answer->stats.context_used : 0;
  print_note(fmt::format("context: {}/{} tokens used", used, size));
  return {};
}

Result<void> stats(ReplState& state, const std::string& argument) {
  LM_CHECK(no_argument("/stats", argument));
  if (!state.last_answer) {
    return wrong("/stats", "there is no answer yet");
  }
  print_to_stderr(statistics_text(state.session->loaded(), *state.last_answer));
  return {};
}

Result<void> export_chat(ReplState& state, const std::string& argument) {
  if (argument.empty()) {
    return wrong("/export", "needs a file's name");
  }
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const Message& message : state.session->messages()) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  std::ofstream out(argument, std::ios::trunc);
  out << dump_json({{"model", state.session->loaded().name}, {"messages", messages}}) << '\n';
  out.flush();
  if (!out) {
    return failure("io", argument, "can't be written");
  }
  print_note(fmt::format("Wrote {} messages to {}.", messages.size(), argument));
  return {};
}

Result<void> help(ReplState& state, const std::string& argument);

constexpr std::array kSlashCommands{
    SlashCommand{"/?", "[set|show|shortcuts]", "this help", help},
    SlashCommand{"/bye", "", "leave", leave},
    SlashCommand{"/clear", "", "forget the conversation, keep the system message", clear},
    SlashCommand{"/context", "", "how full the context is", context},
    SlashCommand{"/edit", "[TEXT]", "write the next message in your editor", edit},
    SlashCommand{"/exit", "", "leave", leave},
    SlashCommand{"/export", "FILE", "write the conversation to a file as JSON", export_chat},
    SlashCommand{"/help", "[set|show|shortcuts]", "this help", help},
    SlashCommand{"/list", "[PREFIX]", "list models", list},
    SlashCommand{"/load", "MODEL", "go on with another model", load},
    SlashCommand{"/retry", "", "make the last answer again", retry},
    SlashCommand{"/save", "NAME", "save model, settings and conversation under a name", save},
    SlashCommand{"/set", "...", "change a setting", set},
    SlashCommand{"/show", "...", "show what the model is", show},
    SlashCommand{"/stats", "", "statistics of the last answer", stats},
    SlashCommand{"/undo", "", "take the last message and its answer back", undo},
};

Result<void> help(ReplState&, const std::string& argument) {
  std::string text;
  if (argument == "set") {
    text =
        "/set parameter NAME VALUE...   any parameter; several values for stop\n"
        "/set system TEXT               the system message (or a \"\"\" block)\n"
        "/set think [LEVEL] | nothink   let the model think first, or not\n"
        "/set history | nohistory       keep what is typed, or not\n"
        "/set wordwrap | nowordwrap     wrap words, or not\n"
        "/set verbose | quiet           statistics after each answer, or not\n";
    text += fmt::format("Parameters: {}\n", fmt::join(api::parameter_names(), ", "));
  } else if (argument == "show") {
    text = "/show info | license | modelfile | parameters | system | template\n";
  } else if (argument == "shortcuts") {
    text =
        "Ctrl+A, Home    line start          Ctrl+E, End     line end\n"
        "Ctrl+B, Left    back                Ctrl+F, Right   forward\n"
        "Alt+B, Alt+F    word back, forward  Ctrl+W          delete the word before\n"
        "Ctrl+P, Up      older line          Ctrl+N, Down    newer line\n"
        "Ctrl+K, Ctrl+U  delete to the end, to the start\n"
        "Ctrl+R          search in history   Ctrl+L          clear the screen\n"
        "Ctrl+J          new line            Ctrl+G          write in your editor\n"
        "Ctrl+C          drop the line; stop an answer\n"
        "Ctrl+D          leave               Ctrl+Z          suspend\n"
        "Tab             complete commands, names and paths\n";
  } else {
    for (const SlashCommand& command : kSlashCommands) {
      text += fmt::format("  {:<28}{}\n", fmt::format("{} {}", command.name, command.arguments),
                          command.help);
    }
    text += "  \"\"\"                         begin and end a message of several lines\n";
  }
  print_to_stderr(text);
  return {};
}

std::vector<std::string> paths_with_prefix(const std::string& prefix) {
  namespace fs = std::filesystem;
  const fs::path typed(prefix);
  const fs::path folder = typed.has_parent_path() ? typed.parent_path() : fs::path(".");
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with(typed.filename().string()) && found.size() < 200) {
      std::error_code ignored;
      const std::string path =
          (typed.has_parent_path() ? typed.parent_path() / name : fs::path(name)).string();
      found.push_back(path + (fs::is_directory(it->path(), ignored) ? "/" : ""));
    }
  }
  std::ranges::sort(found);
  return found;
}

std::vector<std::string> models_with_prefix(const std::string& prefix) {
  std::vector<std::string> found;
  // Not a LocalStore: nothing may be printed while a line is typed.
  const auto home = store::default_home();
  if (!home) {
    return found;
  }
  if (const auto store = store::Store::open(*home, store::Store::Mode::read_only)) {
    if (const auto models = store->list(prefix)) {
      for (const store::ModelEntry& model : *models) {
        found.push_back(model.name);
      }
    }
  }
  return found;
}

template <class Words>
std::vector<std::string> with_prefix(const Words& words, std::string_view prefix) {
  std::vector<std::string> found;
  for (const std::string_view word : words) {
    if (word.starts_with(prefix)) {
      found.emplace_back(word);
    }
  }
  return found;
}

}  // namespace

Result<void> run_slash_command(ReplState& state, const std::string& line) {
  std::string argument = line;
  const std::string name = take_word(argument);
  const SlashCommand* found = nullptr;
  for (const SlashCommand& command : kSlashCommands) {
    if (command.name == name) {
      found = &command;
      break;
    }
    // The first that begins so: /s is /save, as the table is sorted.
    if (found == nullptr && name.size() > 1 && command.name.starts_with(name)) {
      found = &command;
    }
  }
  if (found == nullptr) {
    print_note(fmt::format("Unknown command '{}'. Type /? for help", name));
    return {};
  }
  return found->run(state, argument);
}

std::vector<std::string> complete_line(std::string_view text) {
  const std::size_t blank = text.find_last_of(" \n");
  const std::string word(blank == std::string_view::npos ? text : text.substr(blank + 1));
  if (blank == std::string_view::npos && word.starts_with('/') &&
      word.find('/', 1) == std::string::npos) {
    std::vector<std::string_view> names;
    for (const SlashCommand& command : kSlashCommands) {
      names.push_back(command.name);
    }
    return with_prefix(names, word);
  }
  if (text.starts_with("/load ")) {
    return models_with_prefix(word);
  }
  if (text.starts_with("/set parameter ")) {
    return with_prefix(api::parameter_names(), word);
  }
  if (text.starts_with("/set ")) {
    constexpr std::array<std::string_view, 10> kNames{
        "parameter", "system",     "think", "nothink", "history",
        "nohistory", "nowordwrap", "quiet", "verbose", "wordwrap"};
    return with_prefix(kNames, word);
  }
  if (text.starts_with("/show ")) {
    constexpr std::array<std::string_view, 6> kNames{"info",       "license", "modelfile",
                                                     "parameters", "system",  "template"};
    return with_prefix(kNames, word);
  }
  return word.empty() ? std::vector<std::string>{} : paths_with_prefix(word);
}

}  // namespace lm::cmd
