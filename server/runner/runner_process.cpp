#include "server/runner/runner_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/runner/runner_main.h"

namespace lm::server {
namespace {

constexpr std::array<std::string_view, 4> kSecrets{
    "LM_API_KEY=", "HF_TOKEN=", "HUGGING_FACE_HUB_TOKEN=", "HF_TOKEN_PATH="};

std::vector<char*> environment_without_secrets() {
  std::vector<char*> kept;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    const std::string_view entry(*at);
    bool secret = false;
    for (const std::string_view name : kSecrets) {
      secret = secret || entry.starts_with(name);
    }
    if (!secret) {
      kept.push_back(*at);
    }
  }
  kept.push_back(nullptr);
  return kept;
}

/// In the child, between fork and exec: only what is safe there. Puts the descriptors where the
/// runner expects them; `scratch` is above all of them.
void become_runner(const char* program, char* const* words, char* const* environment, int channel,
                   std::span<const int> model_fds, std::span<int> scratch) {
  // First out of the way: a descriptor may have a number that another one must get.
  const int first_free = kRunnerFirstModelFd + static_cast<int>(model_fds.size());
  scratch[0] = ::fcntl(channel, F_DUPFD_CLOEXEC, first_free);
  for (std::size_t i = 0; i < model_fds.size(); ++i) {
    scratch[i + 1] = ::fcntl(model_fds[i], F_DUPFD_CLOEXEC, first_free);
  }
  bool good = true;
  for (std::size_t i = 0; i < scratch.size(); ++i) {
    good = good && ::dup2(scratch[i], kRunnerChannelFd + static_cast<int>(i)) >= 0;
  }
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  good = good && ::dup2(null, STDIN_FILENO) >= 0 && ::dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
  good = good && ::close_range(static_cast<unsigned>(first_free), ~0U, 0) == 0;
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (good) {
    ::execve(program, words, environment);
  }
  ::_exit(127);
}

}  // namespace

Result<std::unique_ptr<RunnerProcess>> RunnerProcess::spawn(const std::string& program,
                                                            const std::string& model_name,
                                                            std::span<const int> model_fds,
                                                            RunnerListener listener) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return lm::fail(ErrorCode::io, model_name, "no channel to a runner can be made", "", errno);
  }
  store::Fd ours(ends[0]);
  const store::Fd theirs(ends[1]);
  // Everything that asks for memory comes before the fork.
  const std::string path = program.empty() ? "/proc/self/exe" : program;
  std::string word0 = "lm", word1 = kRunnerWord, word2 = model_name;
  const std::array<char*, 4> words{word0.data(), word1.data(), word2.data(), nullptr};
  const std::vector<char*> environment = environment_without_secrets();
  std::vector<int> scratch(model_fds.size() + 1, -1);
  const pid_t pid = ::fork();
  if (pid == 0) {
    become_runner(path.c_str(), words.data(), environment.data(), theirs.get(), model_fds, scratch);
  }
  if (pid < 0) {
    return lm::fail(ErrorCode::io, model_name, "no process can be started for it", "", errno);
  }
  return std::unique_ptr<RunnerProcess>(
      new RunnerProcess(pid, std::move(ours), std::move(listener)));
}

RunnerProcess::RunnerProcess(pid_t pid, store::Fd channel, RunnerListener listener)
    : pid_(pid), channel_(std::move(channel)), listener_(std::move(listener)) {
  reader_ = std::thread([this] { read_loop(); });
}

RunnerProcess::~RunnerProcess() {
  kill();
  reader_.join();
}

void RunnerProcess::read_loop() {
  while (auto frame = channel_.read()) {
    if (frame->kind == FrameKind::event) {
      if (auto event = decode_event(frame->body)) {
        listener_.on_event(std::move(*event));
        continue;
      }
    } else if (frame->kind == FrameKind::progress) {
      listener_.on_progress(std::move(frame->body));
      continue;
    } else if (frame->kind == FrameKind::ready) {
      if (auto ready = decode_ready(frame->body)) {
        listener_.on_ready(std::move(*ready));
        continue;
      }
    } else if (frame->kind == FrameKind::figures) {
      if (auto figures = decode_figures(frame->body)) {
        listener_.on_figures(*figures);
        continue;
      }
    } else if (frame->kind == FrameKind::failed) {
      listener_.on_failed(decode_error(frame->body));
      continue;
    }
    break;  // it speaks nonsense
  }
  // Whoever closed the channel is of no use any more, whatever it still does.
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  listener_.on_end(WIFSIGNALED(status) ? fmt::format("was killed by signal {}", WTERMSIG(status))
                                       : fmt::format("ended with code {}", WEXITSTATUS(status)));
}

}  // namespace lm::server
