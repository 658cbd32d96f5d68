/// Resume state of an unfinished download: partial/<stem>.journal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/digest.h"

namespace lm::store {

/// Bytes [begin, end) of a file.
struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

/// What is already on disk of one file, and of which one. Whoever resumes compares repo, commit,
/// path, size and sha256 with what it is about to fetch, and starts over when one differs.
struct Journal {
  std::string repo = {};    ///< "user/repo" as the hub spells it; empty for a plain URL
  std::string commit = {};  ///< 40 hex digits; empty for a plain URL
  std::string path = {};    ///< in the repository
  std::string url = {};     ///< without query and credentials; plain URLs only
  std::string etag = {};    ///< validator of a plain URL's answer
  std::string model = {};   ///< name the model is going to have
  std::uint64_t size_bytes = 0;
  std::optional<Digest> sha256 = {};  ///< unknown for a plain URL
  std::vector<ByteRange> done =
      {};  ///< sorted, disjoint, none empty: bytes that fdatasync has seen
  /// XXH64 of every finished 16 MiB chunk (chunk_sums.h), nullopt for the others;
  /// chunk_count(size_bytes) entries, or none at all.
  std::vector<std::optional<std::uint64_t>> chunks = {};

  std::uint64_t done_bytes() const;
  /// JSON on one line and a second line with its checksum.
  std::string to_text() const;
  /// Errors: corrupt (damaged, other checksum, ranges outside the file), newer_schema (a later
  /// format).
  static Result<Journal> from_text(std::string_view text, std::string_view subject);

  friend bool operator==(const Journal&, const Journal&) = default;
};

/// Adds [begin, end) to sorted disjoint ranges, joining neighbours.
void add_range(std::vector<ByteRange>& ranges, ByteRange range);

/// Reads a journal. Errors: not_found, corrupt, newer_schema, io.
Result<Journal> read_journal(const std::filesystem::path& path);

/// Replaces the journal at `path` durably: `<path>.new`, fsync, rename. Call it only after
/// sync_data of the .part it speaks of, and only while holding the lock of that .part.
Result<void> write_journal(const std::filesystem::path& path, const Journal& journal);

}  // namespace lm::store
