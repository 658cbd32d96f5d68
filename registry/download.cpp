#include "registry/download.h"

#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <sys/stat.h>

#include "registry/partial_file.h"
#include "registry/repair.h"
#include "registry/transfer_run.h"
#include "store/file_ops.h"
#include "store/sha256.h"

namespace lm::registry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookAtOwner{200};
constexpr std::chrono::hours kLeaseRenewal{1};

struct Paths {
  std::filesystem::path part;
  std::filesystem::path journal;
};

/// partial/sha256-<hex>.*, or partial/url-<hex>.* while the digest is unknown.
Paths paths_of(const store::Store& store, const store::Journal& identity) {
  if (identity.sha256) {
    return {store.partial_path(*identity.sha256), store.journal_path(*identity.sha256)};
  }
  const std::string stem = "url-" + store::sha256(identity.url).hex();
  const auto folder = store.home() / "partial";
  return {folder / (stem + ".part"), folder / (stem + ".journal")};
}

/// A blob of the wrong size is damaged and counts as missing: it is replaced.
bool is_there(const store::Store& store, const store::Journal& identity) {
  if (!identity.sha256 || !store.has_blob(*identity.sha256)) {
    return false;
  }
  std::error_code error;
  const auto size = std::filesystem::file_size(store.blob_path(*identity.sha256), error);
  return error || size == identity.size_bytes;
}

/// Waits until the partial is ours. Empty: meanwhile the blob came in by somebody else.
Result<std::optional<PartialFile>> lock_partial(const store::Store& store, HttpClient& http,
                                                const store::Journal& identity, const Paths& paths,
                                                bool replace, const DownloadObserver& observer) {
  bool told = false;
  std::uint64_t shown = 0;
  while (true) {
    LM_TRY(std::optional<PartialFile> file, PartialFile::try_open(paths.part, paths.journal));
    // A damaged blob that is there is no news, unless somebody was mending it meanwhile.
    if (is_there(store, identity) &&
        (!replace || (told && file && !file->usable_journal(identity)))) {
      if (file) {
        LM_CHECK(file->discard());  // the empty one just made
      }
      return std::nullopt;
    }
    if (file) {
      return file;
    }
    if (!told) {
      observer.status("another lm fetches this file; waiting for it");
      told = true;
    }
    if (const auto journal = store::read_journal(paths.journal);
        journal && journal->size_bytes == identity.size_bytes) {
      shown = std::max(shown, journal->done_bytes());
      observer.progress(shown);
    }
    const auto until = Clock::now() + kLookAtOwner;
    while (Clock::now() < until) {
      if (http.stop()) {
        return std::unexpected(interrupted_error());
      }
      std::this_thread::sleep_for(milliseconds(20));
    }
  }
}

Error wrong_digest(const DownloadSource& source, const store::Digest& wanted,
                   const store::Digest& got) {
  return {.code = ErrorCode::digest_mismatch,
          .subject = source.file_name,
          .problem = fmt::format("its SHA-256 is {}, the hub says {}", got.hex(), wanted.hex()),
          .hint = "the bad bytes are dropped; run the command again to start over"};
}

/// What is downloaded and whether it is right: fills the partial, and mends it once when the digest
/// is wrong.
Result<store::Digest> fill(HttpClient& http, const DownloadSource& source,
                           const DownloadOptions& options, const DownloadObserver& observer,
                           PartialFile& file, ChunkMap& map, std::uint64_t& fetched_bytes) {
  const auto run_once = [&](TransferRun& run) {
    auto digest = run.run();
    fetched_bytes += run.fetched_bytes();
    return digest;
  };
  const auto& wanted = source.identity.sha256;
  bool whole_file_only = false;
  store::Digest digest;
  {
    TransferRun run(http, source, options, observer, file, map);
    LM_TRY(digest, run_once(run));
    if (!wanted || digest == *wanted) {
      return digest;
    }
    LM_TRY(const auto spoilt, chunks_spoilt_on_disk(file, map));
    whole_file_only = run.whole_file_only();
    if (spoilt.empty() && !whole_file_only) {
      LM_TRY(digest,
             repair_over_net(http, run, file, map, *wanted, digest, observer, fetched_bytes));
      return digest;
    }
    for (const std::size_t index : spoilt) {
      observer.warning(
          fmt::format("{}: chunk {} changed on disk; fetching it again", source.file_name, index));
      map.invalidate(index);
    }
    if (spoilt.empty()) {
      observer.status("the digest is wrong; fetching the file again");
      for (std::size_t i = 0; i < map.count(); ++i) {
        map.invalidate(i);
      }
    }
  }
  file.forget_live();
  TransferRun again(http, source, options, observer, file, map);
  return run_once(again);
}

}  // namespace

Result<DownloadResult> download_file(store::Store& store, HttpClient& http,
                                     const DownloadSource& source, const DownloadOptions& options,
                                     const DownloadObserver& given_observer) {
  // A lease lasts 24 hours; a slow line may need more.
  store::Lease lease;
  auto lease_taken = Clock::now();
  DownloadObserver observer = given_observer;
  observer.progress = [&](std::uint64_t completed) {
    if (source.identity.sha256 && Clock::now() - lease_taken > kLeaseRenewal) {
      lease_taken = Clock::now();
      if (auto renewed = store.take_lease(*source.identity.sha256, source.identity.model)) {
        lease = std::move(*renewed);
      }
    }
    given_observer.progress(completed);
  };
  const store::Journal& identity = source.identity;
  const Paths paths = paths_of(store, identity);
  DownloadResult result{.digest = identity.sha256.value_or(store::Digest{}),
                        .size_bytes = identity.size_bytes};
  if (identity.sha256) {
    LM_TRY(lease, store.take_lease(*identity.sha256, identity.model));
  }
  if (!options.replace && is_there(store, identity)) {
    observer.progress(identity.size_bytes);
    result.lease = std::move(lease);
    return result;
  }
  if (identity.sha256 && store.has_blob(*identity.sha256)) {
    // A damaged blob: what is good of it does not travel again.
    LM_CHECK(store.salvage_blob(identity));
  }
  LM_TRY(std::optional<PartialFile> file,
         lock_partial(store, http, identity, paths, options.replace, observer));
  if (!file) {
    observer.progress(identity.size_bytes);
    result.lease = std::move(lease);
    return result;
  }
  const auto journal = file->usable_journal(identity);
  if (const auto room = file->allocate(identity.size_bytes, journal.has_value()); !room) {
    if (!journal) {
      LM_CHECK(file->discard());
    }
    return std::unexpected(room.error());
  }
  ChunkMap map(identity.size_bytes);
  if (journal) {
    map.restore(*journal);
  } else {
    // From here on `lm list -a` shows the partial and `lm rm` finds it by its model's name.
    store::Journal fresh = identity;
    map.write_to(fresh);
    LM_CHECK(store::write_journal(file->journal_path(), fresh));
  }
  const auto digest = fill(http, source, options, observer, *file, map, result.fetched_bytes);
  const bool wrong = digest && identity.sha256 && *digest != *identity.sha256;
  if (wrong || (!digest && (digest.error().code == ErrorCode::digest_mismatch ||
                            digest.error().code == ErrorCode::size_mismatch))) {
    // Kept, these bytes would make every later pull fail the same way.
    LM_CHECK(file->discard());
  }
  if (!digest) {
    return std::unexpected(digest.error());
  }
  if (wrong) {
    return std::unexpected(wrong_digest(source, *identity.sha256, *digest));
  }
  result.digest = *digest;
  store::CommitOptions commit{.replace = options.replace};
  if (!identity.sha256) {
    LM_TRY(lease, store.take_lease(*digest, identity.model));
    commit.stem = paths.part.stem().string();
  }
  std::vector<std::uint64_t> sums;
  for (std::size_t i = 0; i < map.count(); ++i) {
    sums.push_back(map[i].sum.value_or(0));
  }
  commit.chunk_sums = sums;
  file->forget_live();
  LM_CHECK(store.commit_partial(*digest, identity.size_bytes, commit));
  result.lease = std::move(lease);
  return result;
}

void drop_partial(const store::Store& store, const store::Digest& digest) {
  std::error_code error;
  if (!std::filesystem::exists(store.partial_path(digest), error)) {
    return;
  }
  if (auto file = PartialFile::try_open(store.partial_path(digest), store.journal_path(digest));
      file && *file) {
    static_cast<void>((*file)->discard());
  }
}

std::uint64_t bytes_already_there(const store::Store& store, const store::Journal& identity) {
  if (is_there(store, identity)) {
    return identity.size_bytes;
  }
  struct stat st{};
  if (::stat(paths_of(store, identity).part.c_str(), &st) != 0) {
    return 0;
  }
  return std::min(identity.size_bytes, static_cast<std::uint64_t>(st.st_blocks) * 512);
}

}  // namespace lm::registry
