/// The runner: a process that holds one model and serves it over descriptors it was given. It opens
/// no store and no network.
#pragma once

#include <span>

namespace lm::server {

/// First word of the command line that makes the program a runner; not for people.
inline constexpr const char* kRunnerWord = "--runner";
/// Descriptors that a runner finds open: its channel, then the model's files.
inline constexpr int kRunnerChannelFd = 3;
inline constexpr int kRunnerFirstModelFd = 4;

/// Serves until the server is gone. Returns the exit code.
int runner_main();

}  // namespace lm::server
