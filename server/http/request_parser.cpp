#include "server/http/request_parser.h"

#include <algorithm>
#include <limits>

namespace lm::server {
namespace {

bool is_token_char(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         kMarks.find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  });
  return out;
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) {
    text.remove_prefix(1);
  }
  while (!text.empty() && blank(text.back())) {
    text.remove_suffix(1);
  }
  return text;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  if (text.empty() || text.size() > 19) {
    return std::nullopt;
  }
  std::uint64_t n = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    n = n * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return n;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// Whether a comma-separated list holds a word (any case).
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (lower(trimmed(list.substr(0, comma))) == word) {
      return true;
    }
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// A chunk's size line with its extensions, and all trailers.
constexpr std::size_t kMaxChunkLine = 1024;
constexpr std::size_t kMaxTrailerBytes = std::size_t{8} * 1024;

}  // namespace

std::string_view RequestHead::field(std::string_view name) const {
  const auto found = std::ranges::find(fields, name, [](const auto& f) { return f.first; });
  return found == fields.end() ? std::string_view() : std::string_view(found->second);
}

std::size_t RequestHead::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count(fields, name, [](const auto& f) { return f.first; }));
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) {
      return std::nullopt;
    }
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) {
      return std::nullopt;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

void RequestParser::fail(int status, std::string problem) {
  state_ = State::failed;
  status_ = status;
  problem_ = std::move(problem);
}

void RequestParser::reset() {
  *this = RequestParser(limits_);
}

/// Moves bytes up to the end of a line into `line_`; true when the line is complete.
bool RequestParser::take_line(std::string_view& bytes) {
  const bool in_head = part_ == Part::request_line || part_ == Part::fields;
  while (!bytes.empty()) {
    const char c = bytes.front();
    bytes.remove_prefix(1);
    ++head_bytes_;
    if (in_head && head_bytes_ > limits_.head_bytes) {
      fail(431, "the request line and header fields are too long");
      return false;
    }
    if (!in_head && head_bytes_ > (part_ == Part::trailers ? kMaxTrailerBytes : kMaxChunkLine)) {
      fail(400, "a chunk's header or the trailers are too long");
      return false;
    }
    if (saw_cr_) {
      if (c != '\n') {
        fail(400, "a carriage return stands alone");
        return false;
      }
      saw_cr_ = false;
      return true;
    }
    if (c == '\r') {
      saw_cr_ = true;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' || (byte < 0x20 && c != '\t') || byte == 0x7f) {
      fail(400, "a control byte stands where none may be");
      return false;
    }
    line_ += c;
  }
  return false;
}

std::size_t RequestParser::feed(std::string_view bytes, std::string& body) {
  const std::size_t size = bytes.size();
  while (!bytes.empty() && (state_ == State::head || state_ == State::body)) {
    if (part_ != Part::fixed && part_ != Part::chunk_data) {
      if (take_line(bytes)) {
        const State before = state_;
        on_line();
        line_.clear();
        if (state_ != before) {
          break;  // the head ended: the caller decides
        }
      }
      continue;
    }
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
    body.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
    left_ -= n;
    body_received_ += n;
    if (left_ == 0) {
      if (part_ == Part::fixed) {
        state_ = State::done;
      } else {
        part_ = Part::chunk_end;
        head_bytes_ = 0;
      }
    }
  }
  return size - bytes.size();
}

void RequestParser::on_line() {
  switch (part_) {
    case Part::request_line:
      // An empty line before a request is harmless (RFC 9112, 2.2).
      if (!line_.empty()) {
        read_request_line();
      }
      break;
    case Part::fields:
      if (line_.empty()) {
        end_head();
      } else {
        read_field(false);
      }
      break;
    case Part::chunk_size:
      read_chunk_size();
      break;
    case Part::chunk_end:
      if (!line_.empty()) {
        fail(400, "a chunk is longer than it says");
        break;
      }
      part_ = Part::chunk_size;
      head_bytes_ = 0;
      break;
    case Part::trailers:
      if (line_.empty()) {
        state_ = State::done;
      } else {
        read_field(true);
      }
      break;
    case Part::fixed:
    case Part::chunk_data:
      break;
  }
}

void RequestParser::read_request_line() {
  const std::string_view line = line_;
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || line.find(' ', second + 1) != std::string_view::npos) {
    return fail(400, "the request line has not three parts");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_token(method) || method.size() > 32) {
    return fail(400, "the method is no word");
  }
  if (!version.starts_with("HTTP/") || version.size() != 8 || version[6] != '.') {
    return fail(400, "the request line names no version of HTTP");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  }
  const bool star = target == "*" && method == "OPTIONS";
  if (!star && !target.starts_with('/')) {
    return fail(400, "the target is no path");
  }
  if (std::ranges::any_of(target, [](char c) { return static_cast<unsigned char>(c) >= 0x80; })) {
    return fail(400, "the target holds bytes that must be percent-encoded");
  }
  head_.method = method;
  head_.target = target;
  head_.minor = version.back() - '0';
  head_.keep_alive = head_.minor == 1;
  const std::string_view without_fragment = target.substr(0, target.find('#'));
  const std::size_t question = std::min(without_fragment.find('?'), without_fragment.size());
  const auto path = percent_decoded(without_fragment.substr(0, question));
  if (!path) {
    return fail(400, "the path holds a broken percent escape");
  }
  head_.path = *path;
  head_.query = without_fragment.substr(std::min(question + 1, without_fragment.size()));
  part_ = Part::fields;
}

void RequestParser::read_field(bool trailer) {
  const std::string_view line = line_;
  const std::size_t colon = line.find(':');
  if (line.front() == ' ' || line.front() == '\t') {
    return fail(400, "a header field is folded");
  }
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return fail(400, "a header field has no proper name");
  }
  if (trailer) {
    return;  // nothing of ours comes in a trailer
  }
  if (head_.fields.size() >= limits_.fields) {
    return fail(431, "there are too many header fields");
  }
  head_.fields.emplace_back(lower(line.substr(0, colon)), trimmed(line.substr(colon + 1)));
}

void RequestParser::end_head() {
  const std::size_t lengths = head_.count("content-length");
  const std::size_t codings = head_.count("transfer-encoding");
  if (lengths + codings > 1) {
    return fail(400, "the length of the body is given more than once");
  }
  if (codings == 1) {
    if (head_.minor == 0 || lower(head_.field("transfer-encoding")) != "chunked") {
      return fail(400, "the only transfer coding taken is chunked, in HTTP/1.1");
    }
    head_.chunked = true;
  }
  if (lengths == 1) {
    head_.content_length = decimal(head_.field("content-length"));
    if (!head_.content_length) {
      return fail(400, "Content-Length is no number");
    }
  }
  for (const auto& [name, value] : head_.fields) {
    if (name == "connection") {
      if (lists(value, "close")) {
        head_.keep_alive = false;
      } else if (head_.minor == 0 && lists(value, "keep-alive")) {
        head_.keep_alive = true;
      }
    }
  }
  head_.expects_continue = head_.minor == 1 && lower(head_.field("expect")) == "100-continue";
  state_ = State::body;
  if (head_.chunked) {
    part_ = Part::chunk_size;
    head_bytes_ = 0;
  } else if (head_.content_length.value_or(0) > 0) {
    part_ = Part::fixed;
    left_ = *head_.content_length;
  } else {
    state_ = State::done;
  }
}

void RequestParser::read_chunk_size() {
  const std::string_view line = line_;
  std::size_t digits = 0;
  std::uint64_t size = 0;
  while (digits < line.size() && hex_digit(line[digits]) >= 0) {
    if (size > (std::numeric_limits<std::uint64_t>::max() >> 4)) {
      return fail(400, "a chunk's size is too large");
    }
    size = size * 16 + static_cast<std::uint64_t>(hex_digit(line[digits]));
    ++digits;
  }
  const std::string_view rest = line.substr(digits);
  if (digits == 0 || (!rest.empty() && !trimmed(rest).starts_with(';'))) {
    return fail(400, "a chunk has no proper size");
  }
  if (size > limits_.body_bytes || body_received_ > limits_.body_bytes - size) {
    return fail(413, "the body is too large");
  }
  head_bytes_ = 0;
  left_ = size;
  part_ = size == 0 ? Part::trailers : Part::chunk_data;
}

}  // namespace lm::server
