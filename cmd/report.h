/// Failures of every part as one value, and their one line of text.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "backends/error.h"
#include "store/error.h"

namespace lm::cmd {

/// How the program ends. No other codes exist.
enum class ExitCode : int { ok = 0, failed = 1, usage = 2, interrupted = 130 };

/// A failure on its way to the user: an error of either column, or one of cmd's own.
struct Failure {
  std::string code = "failed";  ///< stable name, shown by --json
  std::string subject;          ///< file, model, field; may be empty
  std::string problem;
  std::string hint = {};
  int os_error = 0;
  ExitCode exit = ExitCode::failed;

  Failure() = default;
  Failure(std::string code_, std::string subject_, std::string problem_, std::string hint_ = {},
          ExitCode exit_ = ExitCode::failed)
      : code(std::move(code_)),
        subject(std::move(subject_)),
        problem(std::move(problem_)),
        hint(std::move(hint_)),
        exit(exit_) {}
  // Implicit on purpose: LM_TRY hands on errors of both columns in functions that return cmd's
  // Result.
  Failure(const store::Error& error);  // NOLINT(google-explicit-constructor)
  Failure(const lm::Error& error);     // NOLINT(google-explicit-constructor)

  /// "subject: problem (os error); hint", escaped for a terminal, on one line.
  std::string text() const;
};

template <class T>
using Result = std::expected<T, Failure>;

/// Wrong usage (exit code 2).
std::unexpected<Failure> usage_error(std::string subject, std::string problem,
                                     std::string hint = {});
/// Any other failure of cmd's own (exit code 1).
std::unexpected<Failure> failure(std::string code, std::string subject, std::string problem,
                                 std::string hint = {});
/// SIGINT or SIGTERM ended the work (exit code 130).
std::unexpected<Failure> interrupted(std::string subject, std::string hint = {});

/// Writes "Error: ..." to stderr; with `json` also {"error":{"code":..,"message":..}} to stdout.
void print_failure(const Failure& failure, bool json);
/// The same for want of memory, without asking for any.
void print_out_of_memory(bool json) noexcept;
/// "Warning: ..." and plain notes on stderr, escaped, one line.
void print_warning(std::string_view text);
void print_note(std::string_view text);

}  // namespace lm::cmd
