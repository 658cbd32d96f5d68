/// Tables on stdout: upper-case header, columns padded to the widest cell, four blanks between
/// them.
#pragma once

#include <string>
#include <vector>

namespace lm::cmd {

/// Rows of text. Cells are escaped for a terminal; column 1 holds no blanks, so that scripts can
/// cut it.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> cells);
  /// The whole table; the header is there for an empty one too.
  std::string text() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lm::cmd
