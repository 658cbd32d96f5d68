#include "store/journal.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "store/chunk_sums.h"
#include "store/file_ops.h"
#include "store/json_text.h"

namespace lm::store {
namespace {

constexpr std::uint64_t kFormat = 1;
constexpr std::uint64_t kTextLimit = std::uint64_t{256} << 20;
constexpr std::uint64_t kRangeLimit = 1 << 20;

Result<std::vector<ByteRange>> read_ranges(const JsonReader& reader, std::uint64_t size_bytes) {
  LM_TRY(const nlohmann::json* list, reader.array("done", kRangeLimit));
  std::vector<ByteRange> ranges;
  std::uint64_t before = 0;
  for (const auto& item : *list) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_number_unsigned() ||
        !item[1].is_number_unsigned()) {
      return std::unexpected(reader.wrong("done", "expected pairs of integers from 0"));
    }
    const ByteRange range{item[0].get<std::uint64_t>(), item[1].get<std::uint64_t>()};
    if (range.begin < before || range.end <= range.begin || range.end > size_bytes) {
      return std::unexpected(reader.wrong(
          "done", fmt::format("range {} to {} is out of order or outside of the file's {} bytes",
                              range.begin, range.end, size_bytes)));
    }
    before = range.end;
    ranges.push_back(range);
  }
  return ranges;
}

Result<std::vector<std::optional<std::uint64_t>>> read_chunks(const JsonReader& reader,
                                                              std::uint64_t size_bytes) {
  LM_TRY(const nlohmann::json* list, reader.array("chunks", chunk_count(size_bytes)));
  if (!list->empty() && list->size() != chunk_count(size_bytes)) {
    return std::unexpected(reader.wrong(
        "chunks",
        fmt::format("has {} elements, expected 0 or {}", list->size(), chunk_count(size_bytes))));
  }
  std::vector<std::optional<std::uint64_t>> chunks;
  for (const auto& item : *list) {
    const auto sum = parse_hex64(item);
    if (!sum && !item.is_null()) {
      return std::unexpected(reader.wrong("chunks", "expected 16 hex digits or null"));
    }
    chunks.push_back(sum);
  }
  return chunks;
}

}  // namespace

std::uint64_t Journal::done_bytes() const {
  std::uint64_t sum = 0;
  for (const ByteRange& range : done) {
    sum += range.end - range.begin;
  }
  return sum;
}

std::string Journal::to_text() const {
  nlohmann::ordered_json json = {{"version", kFormat}, {"repo", repo},      {"commit", commit},
                                 {"path", path},       {"url", url},        {"etag", etag},
                                 {"model", model},     {"size", size_bytes}};
  if (sha256) {
    json["sha256"] = sha256->hex();
  }
  auto& ranges = json["done"] = nlohmann::ordered_json::array();
  for (const ByteRange& range : done) {
    ranges.push_back({range.begin, range.end});
  }
  auto& sums = json["chunks"] = nlohmann::ordered_json::array();
  for (const auto& sum : chunks) {
    sums.push_back(sum ? nlohmann::ordered_json(fmt::format("{:016x}", *sum))
                       : nlohmann::ordered_json());
  }
  // Paths and URLs come from outside and need not be UTF-8; the journal is compared, not shown, so
  // replacing is safe: at worst a download starts over.
  return seal(json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

Result<Journal> Journal::from_text(std::string_view text, std::string_view subject) {
  LM_TRY(const nlohmann::json json, unseal(text, subject));
  const JsonReader reader(json, subject);
  LM_TRY(const std::uint64_t version, reader.number("version"));
  if (version > kFormat) {
    return std::unexpected(
        Error{.code = ErrorCode::newer_schema,
              .subject = std::string(subject),
              .problem = fmt::format("journal format {} (this lm knows {})", version, kFormat)});
  }
  Journal journal;
  LM_TRY(journal.repo, reader.text("repo"));
  LM_TRY(journal.commit, reader.text("commit"));
  LM_TRY(journal.path, reader.text("path"));
  LM_TRY(journal.url, reader.text_or_empty("url"));
  LM_TRY(journal.etag, reader.text_or_empty("etag"));
  LM_TRY(journal.model, reader.text("model"));
  LM_TRY(journal.size_bytes, reader.number("size"));
  if (reader.has("sha256")) {
    LM_TRY(const std::string hex, reader.text("sha256"));
    auto digest = Digest::parse_hex(hex);
    if (!digest) {
      return std::unexpected(reader.wrong("sha256", digest.error().problem));
    }
    journal.sha256 = *digest;
  }
  LM_TRY(journal.done, read_ranges(reader, journal.size_bytes));
  LM_TRY(journal.chunks, read_chunks(reader, journal.size_bytes));
  return journal;
}

void add_range(std::vector<ByteRange>& ranges, ByteRange range) {
  if (range.begin >= range.end) {
    return;
  }
  const auto first = std::ranges::lower_bound(ranges, range.begin, {}, &ByteRange::end);
  auto last = first;
  while (last != ranges.end() && last->begin <= range.end) {
    range.begin = std::min(range.begin, last->begin);
    range.end = std::max(range.end, last->end);
    ++last;
  }
  ranges.insert(ranges.erase(first, last), range);
}

Result<Journal> read_journal(const std::filesystem::path& path) {
  LM_TRY(const Fd fd, open_for_reading(path));
  LM_TRY(const std::string text, read_text(fd.get(), kTextLimit, path.native()));
  return Journal::from_text(text, path.native());
}

Result<void> write_journal(const std::filesystem::path& path, const Journal& journal) {
  LM_TRY(const Folder folder, open_folder(path.parent_path(), false));
  const std::string name = path.filename().native();
  const std::string new_name = name + ".new";
  LM_CHECK(remove_file(folder, new_name));  // left by a crash
  LM_TRY(const Fd fd, create_new(folder, new_name));
  const std::string text = journal.to_text();
  const auto written = [&]() -> Result<void> {
    LM_CHECK(write_all(fd.get(), std::as_bytes(std::span(text)), folder.at(new_name).native()));
    LM_CHECK(sync_file(fd.get(), folder.at(new_name).native()));
    return rename_over(folder, new_name, folder, name);
  }();
  if (!written) {
    static_cast<void>(remove_file(folder, new_name));
    return written;
  }
  return sync_folder(folder);
}

}  // namespace lm::store
