#include "cmd/external_editor.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/report.h"
#include "store/fd.h"

namespace lm::cmd {
namespace {

/// Runs `editor file` through the shell, so that the command may carry arguments; true when it
/// ended with 0.
bool run_editor(const std::string& editor, const std::string& file) {
  const std::string script = editor + " \"$1\"";
  const pid_t child = ::fork();
  if (child == 0) {
    ::execl("/bin/sh", "sh", "-c", script.c_str(), "sh", file.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (child > 0 && ::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::optional<std::string> edit_text(const std::string& editor, const std::string& text) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
  std::string path =
      ((error ? std::filesystem::path("/tmp") : folder) / "lm-prompt-XXXXXX.txt").string();
  const store::Fd fd(::mkstemps(path.data(), 4));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    print_note("the prompt can't be written to a file for the editor");
    return std::nullopt;
  }
  const bool saved = run_editor(editor, path);
  std::optional<std::string> edited;
  if (saved) {
    std::ostringstream read;
    read << std::ifstream(path).rdbuf();
    edited = read.str();
    while (edited->ends_with('\n') || edited->ends_with('\r')) {
      edited->pop_back();
    }
  } else {
    print_note(fmt::format("the editor '{}' did not end well; the prompt is as it was", editor));
  }
  ::unlink(path.c_str());
  return edited;
}

}  // namespace lm::cmd
