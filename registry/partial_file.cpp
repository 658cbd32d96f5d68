#include "registry/partial_file.h"

#include <algorithm>
#include <fstream>
#include <new>
#include <span>

#include "store/chunk_sums.h"
#include "store/file_ops.h"
#include "store/partials.h"
#include "store/paths.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

constexpr std::size_t kBlockBytes = 1 << 20;
constexpr std::size_t kMaxLiveBytes = 16 << 20;

/// Of the running kernel; empty where there is none to be had.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

Error out_of_memory(const std::string& subject) {
  return {.code = ErrorCode::limit_exceeded, .subject = subject, .problem = "not enough memory"};
}

Result<void> save_now(const PartialFile& file, const store::Journal& journal) {
  LM_CHECK(store::sync_data(file.fd(), file.subject()));
  return store::write_journal(file.journal_path(), journal);
}

}  // namespace

// PartialFile

Result<std::optional<PartialFile>> PartialFile::try_open(std::filesystem::path part,
                                                         std::filesystem::path journal) {
  LM_TRY(std::optional<store::Fd> fd, store::lock_partial(part, false));
  if (!fd) {
    return std::nullopt;
  }
  PartialFile file;
  file.fd_ = std::move(*fd);
  file.part_ = std::move(part);
  file.journal_ = std::move(journal);
  return file;
}

std::optional<store::Journal> PartialFile::usable_journal(const store::Journal& wanted) const {
  const auto durable = store::read_journal(journal_);
  std::optional<store::Journal> journal = durable ? checked(*durable, wanted) : std::nullopt;
  if (auto live = read_live()) {
    live = checked(std::move(*live), wanted);
    if (live && (!journal || live->done_bytes() > journal->done_bytes())) {
      journal = std::move(live);
    }
  }
  return journal;
}

/// Nothing unless it speaks of the bytes that `wanted` does, and of none that the file lacks.
std::optional<store::Journal> PartialFile::checked(store::Journal found,
                                                   const store::Journal& wanted) const {
  const auto state = store::file_state(fd(), subject());
  const store::Journal* journal = &found;
  if (!state || journal->size_bytes != wanted.size_bytes) {
    return std::nullopt;
  }
  const bool same = wanted.sha256 ? journal->sha256 == wanted.sha256
                                  : !journal->sha256 && !wanted.etag.empty() &&
                                        journal->url == wanted.url && journal->etag == wanted.etag;
  const bool inside = journal->done.empty() || journal->done.back().end <= state->size_bytes;
  return same && inside ? std::optional(std::move(found)) : std::nullopt;
}

std::optional<store::Journal> PartialFile::read_live() const {
  const std::string boot = boot_id();
  const std::filesystem::path path = live_path();
  const auto fd = store::open_for_reading(path);
  if (boot.empty() || !fd) {
    return std::nullopt;
  }
  const auto text = store::read_text(fd->get(), kMaxLiveBytes, path.native());
  if (!text || !text->starts_with(boot + "\n")) {
    return std::nullopt;
  }
  auto journal =
      store::Journal::from_text(std::string_view(*text).substr(boot.size() + 1), path.native());
  return journal ? std::optional(std::move(*journal)) : std::nullopt;
}

std::filesystem::path PartialFile::live_path() const {
  std::filesystem::path path = part_;
  return path.replace_extension(store::kLiveSuffix);
}

void PartialFile::note_live(const store::Journal& journal) const {
  const std::string boot = boot_id();
  const auto folder = store::open_folder(part_.parent_path(), false);
  if (boot.empty() || !folder) {
    return;
  }
  const std::string name = live_path().filename().native();
  const std::string new_name = name + ".new";
  static_cast<void>(store::remove_file(*folder, new_name));
  const auto fd = store::create_new(*folder, new_name);
  const std::string text = boot + "\n" + journal.to_text();
  if (fd && store::write_all(fd->get(), std::as_bytes(std::span(text)), live_path().native())) {
    static_cast<void>(store::rename_over(*folder, new_name, *folder, name));
  }
}

void PartialFile::forget_live() const {
  if (const auto folder = store::open_folder(part_.parent_path(), false)) {
    const std::string name = live_path().filename().native();
    static_cast<void>(store::remove_file(*folder, name));
    static_cast<void>(store::remove_file(*folder, name + ".new"));
  }
}

Result<void> PartialFile::allocate(std::uint64_t size_bytes, bool keep) {
  if (!keep) {
    LM_CHECK(store::set_length(fd(), 0, false, subject()));
  }
  return store::set_length(fd(), size_bytes, true, subject());
}

Result<void> PartialFile::discard() {
  forget_live();
  LM_TRY(const store::Folder folder, store::open_folder(part_.parent_path(), false));
  LM_CHECK(store::remove_file(folder, journal_.filename().string()));
  LM_CHECK(store::remove_file(folder, part_.filename().string()));
  return {};
}

// JournalSaver

JournalSaver::JournalSaver(const PartialFile& file) : file_(file), thread_([this] { run(); }) {}

JournalSaver::~JournalSaver() {
  {
    const std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

bool JournalSaver::idle() {
  const std::scoped_lock lock(mutex_);
  return !busy_ && !next_;
}

void JournalSaver::save(store::Journal journal) {
  const std::scoped_lock lock(mutex_);
  next_ = std::move(journal);
  changed_.notify_all();
}

Result<void> JournalSaver::flush(const store::Journal& journal) {
  std::unique_lock lock(mutex_);
  next_.reset();
  changed_.wait(lock, [this] { return !busy_; });
  return save_now(file_, journal);
}

std::optional<Error> JournalSaver::error() {
  const std::scoped_lock lock(mutex_);
  return error_;
}

void JournalSaver::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ends_ || next_; });
    if (ends_) {
      return;
    }
    const store::Journal journal = std::move(*next_);
    next_.reset();
    busy_ = true;
    lock.unlock();
    std::optional<Error> failure;
    try {
      if (const auto saved = save_now(file_, journal); !saved) {
        failure = saved.error();
      }
    } catch (const std::bad_alloc&) {
      failure = out_of_memory(file_.subject());
    }
    lock.lock();
    busy_ = false;
    if (failure && !error_) {
      error_ = std::move(failure);
    }
    changed_.notify_all();
  }
}

// PrefixHasher

PrefixHasher::PrefixHasher(const PartialFile& file, std::uint64_t size_bytes,
                           std::vector<std::optional<std::uint64_t>> kept)
    : file_(file), size_bytes_(size_bytes), kept_(std::move(kept)), thread_([this] { run(); }) {}

PrefixHasher::~PrefixHasher() {
  {
    const std::scoped_lock lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void PrefixHasher::advance(std::uint64_t prefix_bytes) {
  const std::scoped_lock lock(mutex_);
  if (prefix_bytes != prefix_) {
    prefix_ = prefix_bytes;
    changed_.notify_all();
  }
}

std::optional<std::size_t> PrefixHasher::take_bad_chunk() {
  const std::scoped_lock lock(mutex_);
  if (!bad_chunk_) {
    return std::nullopt;
  }
  const std::size_t index = *bad_chunk_;
  kept_[index].reset();
  prefix_ = std::min<std::uint64_t>(prefix_, index * store::kChunkBytes);
  bad_chunk_.reset();
  return index;
}

std::optional<Error> PrefixHasher::error() {
  const std::scoped_lock lock(mutex_);
  return error_;
}

std::optional<store::Digest> PrefixHasher::digest() {
  const std::scoped_lock lock(mutex_);
  return digest_;
}

void PrefixHasher::wait(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, time, [this] { return digest_ || error_ || bad_chunk_; });
}

void PrefixHasher::run() {
  std::unique_lock lock(mutex_);
  try {
    std::vector<std::byte> block(kBlockBytes);
    store::Sha256 hasher;
    std::uint64_t at = 0;
    std::optional<std::size_t> checked;  // the kept chunk that has just been found good
    while (true) {
      if (at == size_bytes_) {
        digest_ = hasher.finish();
        changed_.notify_all();
        return;
      }
      changed_.wait(lock, [&] { return ends_ || (prefix_ > at && !bad_chunk_); });
      if (ends_) {
        return;
      }
      const auto index = static_cast<std::size_t>(at / store::kChunkBytes);
      const std::uint64_t chunk_end =
          std::min<std::uint64_t>(size_bytes_, (index + 1) * store::kChunkBytes);
      const bool was_kept = index < kept_.size() && kept_[index].has_value();
      const std::uint64_t sum = was_kept ? kept_[index].value_or(0) : 0;
      const std::uint64_t end = std::min({prefix_, chunk_end, at + kBlockBytes});
      lock.unlock();
      if (was_kept && checked != index) {
        const auto found =
            chunk_sum_on_disk(file_.fd(), {index * store::kChunkBytes, chunk_end}, file_.subject());
        lock.lock();
        if (!found || *found != sum) {
          bad_chunk_ = index;
          changed_.notify_all();
        } else {
          checked = index;
        }
        continue;
      }
      const std::span part(block.data(), static_cast<std::size_t>(end - at));
      const auto read = store::read_exact(file_.fd(), part, at, file_.subject());
      if (read) {
        hasher.update(part);
        at = end;
      }
      lock.lock();
      if (!read) {
        error_ = read.error();
        changed_.notify_all();
        return;
      }
    }
  } catch (const std::bad_alloc&) {
    if (!lock.owns_lock()) {
      lock.lock();
    }
    error_ = out_of_memory(file_.subject());
    changed_.notify_all();
  }
}

Result<std::uint64_t> chunk_sum_on_disk(int fd, store::ByteRange range, std::string_view subject) {
  std::vector<std::byte> block(kBlockBytes);
  store::ChunkHash hash;
  for (std::uint64_t at = range.begin; at < range.end;) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(kBlockBytes, range.end - at));
    LM_CHECK(store::read_exact(fd, std::span(block).first(size), at, subject));
    hash.update(std::span(block).first(size));
    at += size;
  }
  return hash.finish();
}

}  // namespace lm::registry
