// The test program is its own runner, and a server that dies without a word.
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "server/runner/runner_main.h"
#include "server/runner/runner_process.h"

namespace {

/// Loads a model into a runner, says its number, and is killed.
int spawn_and_die(const char* model) {
  const int fd = ::open(model, O_RDONLY | O_CLOEXEC);
  auto runner = lm::server::RunnerProcess::spawn(
      "", "m", std::span(&fd, 1),
      {.on_progress = [](const std::string&) {},
       .on_ready = [](const lm::server::RunnerReady&) { std::raise(SIGKILL); },
       .on_failed = [](const lm::Error&) {},
       .on_event = [](const lm::Event&) {},
       .on_figures = [](lm::server::RunnerFigures) {},
       .on_end = [](const std::string&) {}});
  if (!runner) {
    return 1;
  }
  std::printf("%d\n", (*runner)->pid());
  std::fflush(stdout);
  (*runner)->load({.name = "m", .labels = {"m"}, .devices = "cpu"});
  ::pause();
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], lm::server::kRunnerWord) == 0) {
    return lm::server::runner_main();
  }
  if (argc > 2 && std::strcmp(argv[1], "--spawn-and-die") == 0) {
    return spawn_and_die(argv[2]);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
