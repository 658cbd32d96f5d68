// File form: one entry a line; '\' and line ends inside an entry are written as "\\" and "\n".
#include "cmd/history.h"

#include <fstream>

#include <fcntl.h>
#include <unistd.h>

#include "store/fd.h"

namespace lm::cmd {
namespace {

constexpr std::size_t kMaxLines = 1000;
constexpr std::uintmax_t kMaxFileBytes = 16u << 20;

std::string encode(const std::string& line) {
  std::string out;
  for (const char c : line) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\n";
}

std::string decode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      ++i;
      out += text[i] == 'n' ? '\n' : text[i];
    } else {
      out += text[i];
    }
  }
  return out;
}

/// Prompts are private: only the owner may read them.
store::Fd open_private(const std::filesystem::path& path, int flags) {
  return store::Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, 0600));
}

bool write_text(const store::Fd& fd, const std::string& text) {
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

}  // namespace

History::History(std::filesystem::path path) : path_(std::move(path)) {
  std::error_code error;
  if (path_.empty() || !std::filesystem::is_regular_file(path_, error) ||
      std::filesystem::file_size(path_, error) > kMaxFileBytes) {
    return;
  }
  std::ifstream in(path_);
  std::string line;
  while (std::getline(in, line)) {
    lines_.push_back(decode(line));
  }
  if (lines_.size() > kMaxLines) {
    lines_.erase(lines_.begin(), lines_.end() - static_cast<std::ptrdiff_t>(kMaxLines));
    rewrite_file();
  }
}

void History::add(const std::string& line) {
  if (line.empty() || (!lines_.empty() && lines_.back() == line)) {
    return;
  }
  lines_.push_back(line);
  if (lines_.size() > kMaxLines) {
    lines_.erase(lines_.begin());
  }
  append_to_file(line);
}

void History::append_to_file(const std::string& line) const {
  // One write with O_APPEND: entries of several sessions don't mix. A history that can't be written
  // is no reason to disturb the conversation.
  if (keep_ && !path_.empty()) {
    static_cast<void>(write_text(open_private(path_, O_APPEND), encode(line)));
  }
}

void History::rewrite_file() const {
  std::string text;
  for (const std::string& line : lines_) {
    text += encode(line);
  }
  const std::filesystem::path fresh = path_.string() + ".new";
  if (write_text(open_private(fresh, O_TRUNC), text)) {
    std::error_code ignored;
    std::filesystem::rename(fresh, path_, ignored);
  }
}

}  // namespace lm::cmd
