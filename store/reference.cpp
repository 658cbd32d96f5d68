#include "store/reference.h"

#include "store/json_text.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kLimitBytes = std::uint64_t{1} << 20;

}  // namespace

Result<std::string> Reference::to_text() const {
  try {
    const nlohmann::ordered_json json = {
        {"path", path.native()}, {"size", size_bytes}, {"mtime_ns", mtime_ns}};
    if (mtime_ns >= 0) {
      return seal(json.dump());
    }
  } catch (const nlohmann::json::exception&) {  // told below
  }
  return std::unexpected(
      Error{.code = ErrorCode::invalid_argument,
            .subject = path.native(),
            .problem = mtime_ns < 0 ? "a file from before 1970 can't be imported by reference"
                                    : "a path that is not UTF-8 can't be imported by reference",
            .hint = "rename or touch the file, or import it with --copy"});
}

Result<Fd> Reference::open() const {
  return open_for_reading(path);
}

Result<Reference> read_reference(const Folder& blobs, const std::string& name) {
  const std::string subject = blobs.at(name).native();
  LM_TRY(const Fd fd, open_for_reading(blobs, name));
  LM_TRY(const std::string text, read_text(fd.get(), kLimitBytes, subject));
  LM_TRY(const nlohmann::json json, unseal(text, subject));
  const JsonReader reader(json, subject);
  Reference reference;
  LM_TRY(const std::string path, reader.text("path"));
  reference.path = path;
  LM_TRY(reference.size_bytes, reader.number("size"));
  LM_TRY(const std::uint64_t mtime_ns, reader.number("mtime_ns"));
  reference.mtime_ns = static_cast<std::int64_t>(mtime_ns);
  return reference;
}

}  // namespace lm::store
