/// Lines entered before, kept in the store: at most 1000, consecutive duplicates merged.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace lm::cmd {

class History {
 public:
  /// Reads `path`; a missing or unreadable file is an empty history. An empty path keeps nothing on
  /// disk.
  explicit History(std::filesystem::path path);

  void add(const std::string& line);
  const std::vector<std::string>& lines() const { return lines_; }
  /// False: lines are no longer written (/set nohistory).
  void keep(bool keep) { keep_ = keep; }

 private:
  void append_to_file(const std::string& line) const;
  void rewrite_file() const;

  std::filesystem::path path_;
  std::vector<std::string> lines_;
  bool keep_ = true;
};

}  // namespace lm::cmd
