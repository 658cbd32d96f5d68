// lm env: every setting, its value and where it came from.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/arguments.h"
#include "cmd/command.h"
#include "cmd/output.h"
#include "cmd/settings.h"
#include "cmd/table.h"
#include "store/store.h"

namespace lm::cmd {
namespace {

/// The value to show: secrets masked, the default folder of models worked out.
std::string shown_value(const SettingRow& row, const SettingValue& value) {
  if (row.secret && !value.text.empty()) {
    return "***";
  }
  if (row.name == "LM_HOME" && value.source == "default") {
    const auto home = store::default_home();
    return home ? home->string() : value.text;
  }
  return value.text;
}

}  // namespace

Result<ExitCode> env_command(CommandLine& line) {
  Arguments arguments(line);
  arguments.flag("--json", line.json, "print JSON");
  LM_TRY(const bool go_on, arguments.parse());
  if (!go_on) {
    return ExitCode::ok;
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  Table table({"NAME", "VALUE", "SOURCE", "MEANING"});
  std::optional<Failure> first_bad;
  for (const SettingRow& row : setting_rows()) {
    const SettingValue value = look_up(row);
    if (auto checked = setting(row.name); !checked && !first_bad) {
      first_bad = checked.error();
    }
    const std::string text = shown_value(row, value);
    list.push_back(
        {{"name", row.name}, {"value", text}, {"source", value.source}, {"help", row.help}});
    table.add(
        {std::string(row.name), text.empty() ? "-" : text, value.source, std::string(row.help)});
  }
  if (first_bad) {
    // A malformed value is what the reader came for: the table would hide it.
    if (!line.json) {
      print(table.text());
    }
    return std::unexpected(*first_bad);
  }
  print(line.json ? nlohmann::ordered_json{{"settings", list}}.dump(
                        2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
                        "\n"
                  : table.text());
  return ExitCode::ok;
}

}  // namespace lm::cmd
