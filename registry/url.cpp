#include "registry/url.h"

#include <cstdlib>
#include <memory>
#include <new>

#include <curl/curl.h>
#include <fmt/format.h>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

struct UrlHandleDeleter {
  void operator()(CURLU* handle) const { curl_url_cleanup(handle); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlHandleDeleter>;

UrlHandle new_handle() {
  UrlHandle handle(curl_url());
  if (!handle) {
    throw std::bad_alloc();
  }
  return handle;
}

/// True when it worked; false when the text is at fault, not a want of memory.
bool worked(CURLUcode code) {
  if (code == CURLUE_OUT_OF_MEMORY) {
    throw std::bad_alloc();
  }
  return code == CURLUE_OK;
}

bool set_address(CURLU* handle, const std::string& text) {
  return worked(curl_url_set(handle, CURLUPART_URL, text.c_str(), 0));
}

std::string part(CURLU* handle, CURLUPart which, unsigned flags = 0) {
  char* value = nullptr;
  const bool found = worked(curl_url_get(handle, which, &value, flags)) && value != nullptr;
  const std::unique_ptr<char, decltype(&curl_free)> held(value, curl_free);
  return found ? std::string(value) : std::string();
}

Result<Url> from_handle(CURLU* handle, std::string_view shown) {
  Url url;
  url.text = part(handle, CURLUPART_URL);
  url.scheme = to_lower(part(handle, CURLUPART_SCHEME));
  url.host = to_lower(part(handle, CURLUPART_HOST));
  if (url.host.starts_with('[') && url.host.ends_with(']')) {
    url.host = url.host.substr(1, url.host.size() - 2);
  }
  url.port = std::atoi(part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT).c_str());
  url.path = part(handle, CURLUPART_PATH);
  url.query = part(handle, CURLUPART_QUERY);
  url.has_credentials =
      !part(handle, CURLUPART_USER).empty() || !part(handle, CURLUPART_PASSWORD).empty();
  const bool known = url.scheme == "http" || url.scheme == "https";
  if (!known || url.host.empty() || url.port <= 0) {
    return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                                 .subject = std::string(shown.substr(0, 256)),
                                 .problem = "it is not an http or https address",
                                 .hint = "use an address such as https://huggingface.co"});
  }
  return url;
}

}  // namespace

Result<Url> Url::parse(std::string_view text) {
  const UrlHandle handle = new_handle();
  if (set_address(handle.get(), std::string(text)) && text.find('\0') == text.npos) {
    return from_handle(handle.get(), text);
  }
  return std::unexpected(Error{.code = ErrorCode::invalid_argument,
                               .subject = std::string(text.substr(0, 256)),
                               .problem = "it is not an http or https address",
                               .hint = "use an address such as https://huggingface.co"});
}

bool Url::is_loopback() const {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

std::string Url::for_display() const {
  const bool usual = (scheme == "https" && port == 443) || (scheme == "http" && port == 80);
  const std::string shown_host = host.find(':') == host.npos ? host : "[" + host + "]";
  return fmt::format("{}://{}{}{}", scheme, shown_host, usual ? "" : fmt::format(":{}", port),
                     path);
}

Result<Url> follow_location(const Url& base, std::string_view location) {
  const auto refuse = [&](std::string problem) {
    return std::unexpected(Error{.code = ErrorCode::protocol,
                                 .subject = base.for_display(),
                                 .problem = std::move(problem),
                                 .hint = "check HF_ENDPOINT and the proxy settings"});
  };
  const UrlHandle handle = new_handle();
  if (location.empty() || location.size() > 16384 || !set_address(handle.get(), base.text) ||
      !set_address(handle.get(), std::string(location))) {
    return refuse("it redirects to something that is no address");
  }
  auto next = from_handle(handle.get(), location);
  if (!next) {
    return refuse("it redirects to something that is no http or https address");
  }
  if (next->has_credentials) {
    return refuse("it redirects to an address with a user name");
  }
  if (base.scheme == "https" && next->scheme == "http") {
    return refuse(fmt::format("it redirects from https to http ({})", next->for_display()));
  }
  return next;
}

std::string percent_encoded(std::string_view text, bool keep_slash) {
  std::string out;
  for (const char c : text) {
    if (ascii_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~' ||
        (keep_slash && c == '/')) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string on_endpoint(std::string_view address, std::string_view endpoint) {
  for (const std::string_view hub : {"https://huggingface.co", "https://hf.co"}) {
    const std::string_view rest = address.substr(std::min(hub.size(), address.size()));
    if (equal_ignoring_case(address.substr(0, hub.size()), hub) &&
        (rest.empty() || rest.front() == '/' || rest.front() == '?')) {
      return std::string(endpoint) + std::string(rest);
    }
  }
  return std::string(address);
}

std::string query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    const std::size_t equal = pair.find('=');
    if (equal != pair.npos && pair.substr(0, equal) == name) {
      return std::string(pair.substr(equal + 1));
    }
    query = end == query.npos ? std::string_view{} : query.substr(end + 1);
  }
  return {};
}

}  // namespace lm::registry
