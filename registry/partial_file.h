/// The file a download grows in: partial/<stem>.part with its journal, held by one process at a
/// time.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "registry/error.h"
#include "store/fd.h"
#include "store/journal.h"

namespace lm::registry {

/// An open, locked .part file. The lock ends with this object or with the process.
class PartialFile {
 public:
  /// Opens or creates and tries to lock; an empty optional: another process (or pull) has it.
  static Result<std::optional<PartialFile>> try_open(std::filesystem::path part,
                                                     std::filesystem::path journal);

  int fd() const { return fd_.get(); }
  const std::filesystem::path& part_path() const { return part_; }
  const std::filesystem::path& journal_path() const { return journal_; }
  std::string subject() const { return part_.string(); }

  /// The journal, or a live note of this boot that is ahead of it, if it speaks of the same bytes
  /// as `wanted`: same SHA-256 and size whatever the repository, or, while the SHA-256 is unknown,
  /// same address, ETag and size. Anything else (foreign, damaged, longer than the file) is
  /// nothing: the caller starts over.
  std::optional<store::Journal> usable_journal(const store::Journal& wanted) const;
  /// Makes the file `size_bytes` long with the room reserved. `keep` false: old bytes are dropped
  /// first.
  Result<void> allocate(std::uint64_t size_bytes, bool keep);
  /// Writes down without waiting for the disk what `journal` says: the page cache outlives a killed
  /// process, not the machine. A next process on the same boot goes on from there. Failing costs
  /// only that.
  void note_live(const store::Journal& journal) const;
  void forget_live() const;
  /// Removes all of its files. The lock is kept.
  Result<void> discard();

 private:
  std::filesystem::path live_path() const;
  std::optional<store::Journal> read_live() const;
  std::optional<store::Journal> checked(store::Journal found, const store::Journal& wanted) const;

  store::Fd fd_;
  std::filesystem::path part_;
  std::filesystem::path journal_;
};

/// Makes bytes and journal durable on a thread of its own: fdatasync first, then the journal that
/// speaks of them.
class JournalSaver {
 public:
  explicit JournalSaver(const PartialFile& file);
  ~JournalSaver();
  JournalSaver(const JournalSaver&) = delete;
  JournalSaver& operator=(const JournalSaver&) = delete;

  bool idle();
  /// Starts saving; only when idle. All bytes `journal` names are already written.
  void save(store::Journal journal);
  /// Waits for what runs, then saves `journal` on this thread.
  Result<void> flush(const store::Journal& journal);
  /// The first failure so far.
  std::optional<Error> error();

 private:
  void run();

  const PartialFile& file_;
  std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::optional<store::Journal> next_;
  std::optional<Error> error_;
  bool busy_ = false;
  bool ends_ = false;
  std::thread thread_;
};

/// SHA-256 of the in-order prefix of a growing file, on a thread of its own; the bytes come from
/// the page cache. Chunks kept from an earlier run are held against their journalled sums before
/// they enter the digest.
class PrefixHasher {
 public:
  /// `kept[i]`: sum of a chunk that an earlier run finished.
  PrefixHasher(const PartialFile& file, std::uint64_t size_bytes,
               std::vector<std::optional<std::uint64_t>> kept);
  ~PrefixHasher();
  PrefixHasher(const PrefixHasher&) = delete;
  PrefixHasher& operator=(const PrefixHasher&) = delete;

  /// Bytes [0, prefix) are on disk. May fall only after take_bad_chunk.
  void advance(std::uint64_t prefix_bytes);
  /// A kept chunk that no longer matches its sum; hashing goes on there once it is fetched anew.
  std::optional<std::size_t> take_bad_chunk();
  std::optional<Error> error();
  /// The digest once the whole file is hashed.
  std::optional<store::Digest> digest();
  /// Waits a little for progress.
  void wait(std::chrono::milliseconds time);

 private:
  void run();

  const PartialFile& file_;
  const std::uint64_t size_bytes_;
  std::mutex mutex_;  // guards the members below
  std::condition_variable changed_;
  std::vector<std::optional<std::uint64_t>> kept_;
  std::uint64_t prefix_ = 0;
  std::optional<std::size_t> bad_chunk_;
  std::optional<store::Digest> digest_;
  std::optional<Error> error_;
  bool ends_ = false;
  std::thread thread_;
};

/// Sum of one chunk as it is on disk.
Result<std::uint64_t> chunk_sum_on_disk(int fd, store::ByteRange range, std::string_view subject);

}  // namespace lm::registry
