#include "store/temp_file.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <new>

#include <fmt/format.h>
#include <unistd.h>

#include "store/cleaner.h"
#include "store/lock.h"

namespace lm::store {
namespace {

std::int64_t now_ns() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

Result<TempFile> TempFile::create(const Folder& tmp) {
  static std::atomic<unsigned> counter{0};
  // A name may be left from a process that had our pid; a clean-up may take a file before its lock.
  constexpr int kTries = 16;
  for (int i = 0;; ++i) {
    std::string name = fmt::format("{}-{:x}-{}", ::getpid(), now_ns(), counter.fetch_add(1));
    auto fd = create_new(tmp, name);
    if (!fd && fd.error().code == ErrorCode::already_exists && i < kTries) {
      continue;
    }
    if (!fd) {
      return std::unexpected(std::move(fd).error());
    }
    TempFile file(tmp, std::move(name), std::move(*fd));
    LM_TRY(const bool locked,
           lock_descriptor(file.fd(), LockKind::exclusive, false, file.subject()));
    LM_TRY(const FileState state, file_state(file.fd(), file.subject()));
    if (locked && state.n_links > 0) {
      return file;
    }
    if (i >= kTries) {
      return std::unexpected(Error{.code = ErrorCode::io,
                                   .subject = file.subject(),
                                   .problem = "new files are removed as soon as they are made",
                                   .hint = "is another program cleaning this folder?"});
    }
  }
}

TempFile::TempFile(TempFile&& other) noexcept
    : folder_(other.folder_),
      name_(std::move(other.name_)),
      fd_(std::move(other.fd_)),
      published_(std::exchange(other.published_, true)) {}

TempFile::~TempFile() {
  if (!published_) {
    // This may be the way out of a want of memory. What stays is cleaned up later.
    try {
      static_cast<void>(remove_file(*folder_, name_));
    } catch (const std::bad_alloc&) {
    }
  }
}

Result<void> TempFile::write(std::string_view text) {
  return write_all(fd(), std::as_bytes(std::span(text)), subject());
}

Result<void> TempFile::publish_over(const Folder& to, const std::string& name) {
  LM_CHECK(rename_over(*folder_, name_, to, name));
  published_ = true;
  return {};
}

Result<bool> TempFile::publish_new(const Folder& to, const std::string& name) {
  LM_TRY(const bool renamed, rename_new(*folder_, name_, to, name));
  published_ = renamed;
  return renamed;
}

std::int64_t age_seconds(const FileState& state) {
  // ctime as well: a hard link of an old file is new in the store.
  const std::int64_t changed_ns = std::max(state.mtime_ns, state.ctime_ns);
  return std::max<std::int64_t>(0, (now_ns() - changed_ns) / 1'000'000'000);
}

Result<void> clean_temp_files(const Folder& tmp, std::int64_t min_age_s, Cleaner& cleaner) {
  if (!tmp) {
    return {};
  }
  LM_TRY(const std::vector<std::string> names, folder_names(tmp));
  for (const std::string& name : names) {
    const auto fd = open_for_reading(tmp, name);
    if (!fd) {
      continue;  // gone, or not a file of ours
    }
    LM_TRY(const FileState state, file_state(fd->get(), tmp.at(name).native()));
    if (age_seconds(state) < min_age_s) {
      continue;
    }
    LM_TRY(const bool locked,
           lock_descriptor(fd->get(), LockKind::exclusive, false, tmp.at(name).native()));
    if (!locked) {
      continue;
    }
    LM_CHECK(cleaner.remove(tmp, name, state.size_bytes));
  }
  return {};
}

}  // namespace lm::store
