#include "cmd/report.h"

#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cmd/output.h"
#include "cmd/terminal.h"

namespace lm::cmd {
namespace {

ExitCode exit_of(store::ErrorCode code) {
  switch (code) {
    case store::ErrorCode::invalid_name:
      return ExitCode::usage;
    case store::ErrorCode::interrupted:
      return ExitCode::interrupted;
    default:
      return ExitCode::failed;
  }
}

}  // namespace

Failure::Failure(const store::Error& error)
    : code(store::code_name(error.code)),
      subject(error.subject),
      problem(error.problem),
      hint(error.hint),
      os_error(error.os_error),
      exit(exit_of(error.code)) {}

Failure::Failure(const lm::Error& error)
    : code(lm::code_name(error.code)),
      subject(error.subject),
      problem(error.problem),
      hint(error.hint),
      os_error(error.os_error),
      exit(error.code == lm::ErrorCode::cancelled ? ExitCode::interrupted : ExitCode::failed) {}

std::string Failure::text() const {
  std::string line = subject.empty() ? problem : fmt::format("{}: {}", subject, problem);
  if (os_error > 0) {
    // Libraries may have put the system's words into `problem` already.
    const char* words = std::strerror(os_error);
    if (line.find(words) == std::string::npos) {
      line += fmt::format(" ({})", words);
    }
  }
  if (!hint.empty()) {
    line += "; " + hint;
  }
  return escape_for_terminal(line);
}

std::unexpected<Failure> usage_error(std::string subject, std::string problem, std::string hint) {
  return std::unexpected(
      Failure("usage", std::move(subject), std::move(problem), std::move(hint), ExitCode::usage));
}

std::unexpected<Failure> failure(std::string code, std::string subject, std::string problem,
                                 std::string hint) {
  return std::unexpected(
      Failure(std::move(code), std::move(subject), std::move(problem), std::move(hint)));
}

std::unexpected<Failure> interrupted(std::string subject, std::string hint) {
  return std::unexpected(Failure("interrupted", std::move(subject), "interrupted", std::move(hint),
                                 ExitCode::interrupted));
}

void print_failure(const Failure& failure, bool json) {
  if (json) {
    const nlohmann::ordered_json object = {
        {"error", {{"code", failure.code}, {"message", failure.text()}}}};
    print(object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  }
  print_to_stderr("Error: " + failure.text() + "\n");
}

void print_out_of_memory(bool json) noexcept {
  print_without_memory(
      json ? "{\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}}\n" : "",
      "Error: out of memory; close other programs or take a smaller model\n");
}

void print_warning(std::string_view text) {
  print_to_stderr("Warning: " + escape_for_terminal(text) + "\n");
}

void print_note(std::string_view text) {
  print_to_stderr(escape_for_terminal(text) + "\n");
}

}  // namespace lm::cmd
