// Modelfiles, as they come from strangers: parsed, printed and parsed again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cmd/modelfile.h"
#include "runtime/chat/go_template.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;

bool same_model(const lm::cmd::Modelfile& a, const lm::cmd::Modelfile& b) {
  return a.from == b.from && a.parameters == b.parameters && a.chat_template == b.chat_template &&
         a.has_template == b.has_template && a.system == b.system && a.has_system == b.has_system &&
         a.messages == b.messages && a.licenses == b.licenses;
}

}  // namespace

int lm_fuzz_modelfile(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto file = lm::cmd::parse_modelfile(text, "input");
  if (!file) {
    const lm::cmd::Failure& failure = file.error();
    require(failure.subject.starts_with("input") && !failure.problem.empty() &&
                failure.problem.size() < 4096,
            "an error names its file and says what is wrong");
    return 0;
  }
  require(!file->from.empty(), "a model is made of something");
  const std::string printed = lm::cmd::print_modelfile(*file);
  const auto again = lm::cmd::parse_modelfile(printed, "input");
  require(again.has_value() && same_model(*file, *again),
          "what was read is printed and read again");
  require(lm::cmd::print_modelfile(*again) == printed, "printing settles");
  static_cast<void>(lm::is_go_template(text));
  return 0;
}
