#include "cmd/table.h"

#include <algorithm>

#include "cmd/terminal.h"

namespace lm::cmd {

void Table::add(std::vector<std::string> cells) {
  cells.resize(header_.size());
  for (std::string& cell : cells) {
    cell = escape_for_terminal(cell);
  }
  std::ranges::replace(cells.front(), ' ', '_');
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<std::size_t> widths(header_.size());
  const auto widen = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      widths[i] = std::max(widths[i], display_width(cells[i]));
    }
  };
  widen(header_);
  std::ranges::for_each(rows_, widen);

  std::string out;
  const auto write = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      out += cells[i];
      if (i + 1 < cells.size()) {
        out.append(widths[i] - display_width(cells[i]) + 4, ' ');
      }
    }
    while (out.ends_with(' ')) {
      out.pop_back();
    }
    out += '\n';
  };
  write(header_);
  std::ranges::for_each(rows_, write);
  return out;
}

}  // namespace lm::cmd
