#include "registry/ranged_file.h"

#include <fmt/format.h>

#include "registry/retry.h"

namespace lm::registry {
namespace {

constexpr int kMaxExpiries = 3;

bool is_expired(int status) {
  return status == 400 || status == 401 || status == 403 || status == 410;
}

}  // namespace

Result<std::string> fetch_range(HttpClient& http, const RangeAddress& address, ByteRange range) {
  const std::uint64_t length = range.end - range.begin;
  for (int expiries = 0;; ++expiries) {
    LM_TRY(const Resolved at, address.get());
    LM_TRY(HttpResponse response,
           http.fetch({.url = at.url,
                       .headers = {fmt::format("Range: bytes={}-{}", range.begin, range.end - 1)},
                       .max_body_bytes = static_cast<std::size_t>(length),
                       .stop_at_body = false,
                       .bearer = at.bearer}));
    if (is_expired(response.status) && expiries < kMaxExpiries) {
      address.forget();
      continue;
    }
    const std::string expected = fmt::format("bytes {}-{}/", range.begin, range.end - 1);
    if (response.status != 206 || response.body.size() != length ||
        !response.headers.get("content-range").starts_with(expected)) {
      Error error = status_error(at.url, response.status, response.headers);
      error.problem =
          fmt::format("bytes {} to {} can't be fetched: status {}, {} bytes", range.begin,
                      range.end - 1, response.status, response.body.size());
      return std::unexpected(error);
    }
    return std::move(response.body);
  }
}

RangedFile::RangedFile(HubClient& hub, std::string repo, std::string commit, RepoFile file)
    : hub_(hub), repo_(std::move(repo)), commit_(std::move(commit)), file_(std::move(file)) {}

Result<std::string> RangedFile::read(std::uint64_t offset, std::uint64_t length) {
  const RangeAddress address{
      .get = [this]() -> Result<Resolved> {
        if (!address_) {
          LM_TRY(address_, hub_.resolve(repo_, commit_, file_.path));
          if (address_->size_bytes && *address_->size_bytes != file_.size_bytes) {
            return std::unexpected(
                Error{.code = ErrorCode::size_mismatch,
                      .subject = file_.path,
                      .problem = fmt::format("it has {} bytes, {} were announced",
                                             *address_->size_bytes, file_.size_bytes),
                      .hint = "run the command again"});
          }
        }
        return *address_;
      },
      .forget = [this] { address_.reset(); }};
  LM_TRY(std::string bytes, fetch_range(hub_.http(), address, {offset, offset + length}));
  fetched_bytes_ += bytes.size();
  return bytes;
}

}  // namespace lm::registry
