// Names of models and addresses, as they come from the command line, from hubs and from requests.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "registry/model_ref.h"
#include "registry/url.h"
#include "store/manifest.h"
#include "store/names.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;
using lm::registry::ModelRef;
using lm::registry::Url;

void use_name(const std::string& shortest) {
  require(lm::store::check_model_name(shortest).has_value(), "the store takes what a name becomes");
  const std::string key = lm::store::manifest_key(shortest);
  require(!key.empty() && key.size() <= 200, "a key is a file name");
  require(std::ranges::all_of(key,
                              [](char c) {
                                return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                                       c == '.' || c == '_' || c == '-' || c == '%';
                              }),
          "a key leads nowhere");
}

}  // namespace

int lm_fuzz_model_name(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto ref = ModelRef::parse(text)) {
    use_name(ref->shortest());
    use_name(ref->on_hub().shortest());
    const auto again = ModelRef::parse(ref->shortest());
    require(again.has_value() && again->shortest() == ref->shortest(),
            "the shortest form stays itself");
  } else {
    require(!ref.error().problem.empty() && ref.error().problem.size() < 4096,
            "an error says which part is wrong");
  }
  static_cast<void>(lm::registry::check_repo_id(text));
  if (const auto url = Url::parse(text)) {
    require(url->port > 0 && url->port < 65'536 && !url->host.empty(), "an address has an origin");
    require(url->has_credentials || url->for_display().find('@') == std::string::npos ||
                url->path.find('@') != std::string::npos,
            "only a path or credentials bring an @");
    const auto same = lm::registry::follow_location(*url, url->path);
    // "//host/path" names another host, which is what such a redirect is for.
    require(!same || url->path.starts_with("//") || same->same_origin(*url),
            "a path stays on its host");
  }
  return 0;
}
