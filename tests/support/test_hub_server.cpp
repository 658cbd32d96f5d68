// lm_test_hub_server: the test hub as a program, for black-box tests. Serves
// DIR/<user>/<repo>/<files>, prints nothing, runs until SIGTERM or SIGINT.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/support/test_hub.h"

namespace {

constexpr int kUsage = 2;

}  // namespace

int main(int argc, char** argv) {
  std::filesystem::path root;
  std::filesystem::path port_file;
  std::string gated;
  lm::test::TestHub::Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--root") {
      root = value;
    } else if (flag == "--port-file") {
      port_file = value;
    } else if (flag == "--token") {
      options.token = value;
    } else if (flag == "--gated") {
      gated = value;
    } else if (flag == "--throttle") {
      options.bytes_per_second = std::strtoull(value, nullptr, 10);
    } else if (flag == "--page") {
      options.page_entries = std::strtoull(value, nullptr, 10);
    } else if (flag == "--log") {
      options.log = value;
    } else {
      return kUsage;
    }
  }
  if (root.empty() || port_file.empty()) {
    return kUsage;
  }
  // Blocked before any thread starts, so that only sigwait below sees them.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  lm::test::TestHub hub(options);
  hub.add_folder(root);
  if (!gated.empty()) {
    hub.set_gated(gated, true);
  }
  // Under another name first: who waits for the file never reads half of it.
  const std::filesystem::path unfinished = port_file.string() + ".new";
  std::ofstream(unfinished) << hub.endpoint() << "\n";
  std::filesystem::rename(unfinished, port_file);
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}
