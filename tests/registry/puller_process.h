/// A pull in a process of its own, to be killed or raced. Forked before the test's hub has threads,
/// told where the hub is when that is up.
#pragma once

#include <cstdint>
#include <string>

#include <sys/types.h>

namespace lm::registry {

class PullerProcess {
 public:
  struct Outcome {
    bool ended_itself = false;  ///< false: by a signal
    bool ok = false;
    std::string message;  ///< of the error
    std::uint64_t fetched_bytes = 0;
    bool waited = false;  ///< for another process
    std::uint64_t memory_growth_bytes =
        0;  ///< peak of resident memory above what the child began with
  };

  /// Forks now; the child waits for `go`. `home` is the store.
  PullerProcess(const std::string& home, const std::string& name);
  ~PullerProcess();
  PullerProcess(const PullerProcess&) = delete;
  PullerProcess& operator=(const PullerProcess&) = delete;

  void go(const std::string& endpoint);
  /// Returns once the pull waits for another process; false when it ended without.
  bool wait_until_waiting();
  void kill9();
  Outcome wait();

 private:
  pid_t pid_ = -1;
  int to_child_ = -1;
  int from_child_ = -1;
  std::string line_;  ///< the outcome, when it was read early
};

}  // namespace lm::registry
