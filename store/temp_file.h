/// A file on its way to a rename.
#pragma once

#include <string>

#include "store/file_ops.h"

namespace lm::store {

/// A new file in tmp/, locked so that nobody's clean-up takes it, removed again unless it was
/// published.
class TempFile {
 public:
  static Result<TempFile> create(const Folder& tmp);
  TempFile(TempFile&& other) noexcept;
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile();

  int fd() const { return fd_.get(); }
  std::string subject() const { return folder_->at(name_).native(); }

  Result<void> write(std::string_view text);
  /// Renames over whatever has the new name. The caller has synced the file.
  Result<void> publish_over(const Folder& to, const std::string& name);
  /// Renames unless the name is taken; false: it was.
  Result<bool> publish_new(const Folder& to, const std::string& name);

 private:
  TempFile(const Folder& folder, std::string name, Fd fd)
      : folder_(&folder), name_(std::move(name)), fd_(std::move(fd)) {}
  const Folder* folder_;
  std::string name_;
  Fd fd_;
  bool published_ = false;
};

class Cleaner;

/// Removes files of tmp/ that nobody writes any more and that are older than `min_age_s`.
Result<void> clean_temp_files(const Folder& tmp, std::int64_t min_age_s, Cleaner& cleaner);

/// Seconds since a file was last written, linked or renamed; never negative.
std::int64_t age_seconds(const FileState& state);

}  // namespace lm::store
