#include "runtime/chat/jinja_text.h"

#include <limits>
#include <utility>

#include "runtime/chat/jinja_value.h"
#include "runtime/tokenizer/utf8.h"

namespace lm::jinja {

namespace {

bool is_ascii(std::string_view bytes) {
  return std::ranges::none_of(bytes, [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

}  // namespace

Text::Text(std::string bytes, Origin origin)
    : bytes_(std::move(bytes)), first_(origin), ascii_(is_ascii(bytes_)) {}

Origin Text::origin_at(std::size_t at) const {
  at = std::min(at, bytes_.empty() ? 0 : bytes_.size() - 1);
  const auto passed = std::ranges::upper_bound(switches_, at) - switches_.begin();
  return passed % 2 == 0 ? first_ : (first_ == Origin::data ? Origin::literal : Origin::data);
}

std::size_t Text::n_chars() const {
  if (ascii_) {
    return bytes_.size();
  }
  std::size_t n = 0;
  for (std::size_t at = 0; at < bytes_.size(); ++n) {
    at += utf8::decode(bytes_, at).bytes;
  }
  return n;
}

std::size_t Text::offset_of(std::size_t n_char) const {
  if (ascii_) {
    return std::min(n_char, bytes_.size());
  }
  std::size_t at = 0;
  for (std::size_t i = 0; i < n_char && at < bytes_.size(); ++i) {
    at += utf8::decode(bytes_, at).bytes;
  }
  return at;
}

bool TextBuilder::grow(std::uint64_t bytes) {
  if (failure_) {
    return false;
  }
  Eval<void> charged = output_ ? budget_->charge_output(bytes) : budget_->charge(bytes);
  if (charged && text_.bytes_.size() + bytes > std::numeric_limits<std::uint32_t>::max()) {
    charged = budget_->fail("a text of 4 GiB");
  }
  if (charged) {
    charged = budget_->step(bytes / 256);
  }
  if (!charged) {
    failure_ = std::move(charged).error();
    return false;
  }
  charged_ += output_ ? 0 : bytes;
  return true;
}

bool TextBuilder::begin_piece(std::uint64_t bytes, Origin origin) {
  const std::size_t at = text_.bytes_.size();
  const bool switches = at > 0 && last_ != origin;
  if (bytes == 0 || !grow(bytes + (switches ? sizeof(std::uint32_t) : 0))) {
    return false;
  }
  last_ = origin;
  if (at == 0) {
    text_.first_ = origin;
  } else if (switches) {
    text_.switches_.push_back(static_cast<std::uint32_t>(at));
  }
  return true;
}

void TextBuilder::append(std::string_view bytes, Origin origin) {
  if (begin_piece(bytes.size(), origin)) {
    text_.bytes_.append(bytes);
    text_.ascii_ = text_.ascii_ && is_ascii(bytes);
  }
}

void TextBuilder::append(const Text& text, std::size_t begin, std::size_t end) {
  end = std::min(end, text.size());
  const auto& switches = text.switches();
  while (begin < end) {
    const auto next = std::ranges::upper_bound(switches, begin);
    const std::size_t stop = next == switches.end() ? end : std::min<std::size_t>(end, *next);
    append(text.view().substr(begin, stop - begin), text.origin_at(begin));
    begin = stop;
  }
}

void TextBuilder::append_code_point(char32_t code_point, Origin origin) {
  std::string bytes;
  utf8::append(bytes, code_point);
  append(bytes, origin);
}

void TextBuilder::repeat(const Text& piece, std::uint64_t times) {
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(piece.size(), times, &bytes)) {
    bytes = std::numeric_limits<std::uint64_t>::max() / 2;
  }
  if (bytes == 0 || failure_) {
    return;
  }
  if (piece.switches().empty()) {
    if (begin_piece(bytes, piece.first_origin())) {
      text_.bytes_.reserve(text_.bytes_.size() + bytes);
      for (std::uint64_t i = 0; i < times; ++i) {
        text_.bytes_.append(piece.view());
      }
      text_.ascii_ = text_.ascii_ && piece.ascii();
    }
    return;
  }
  // Asked for as a whole first, so that no part is made when the whole does not fit.
  Eval<void> room = budget_->charge(bytes);
  if (room) {
    budget_->give_back(bytes);
    room = budget_->step(times);
  }
  if (!room) {
    failure_ = std::move(room).error();
    return;
  }
  for (std::uint64_t i = 0; i < times && !failure_; ++i) {
    append(piece);
  }
}

void TextBuilder::repeat(char byte, std::uint64_t times, Origin origin) {
  repeat(Text(std::string(1, byte), origin), times);
}

Eval<Text> TextBuilder::take() {
  if (failure_) {
    return std::unexpected(std::move(failure_));
  }
  budget_->give_back(std::exchange(charged_, 0));
  return std::move(text_);
}

Eval<Value> TextBuilder::finish() {
  LM_TRY(Text text, take());
  return make_text(*budget_, std::move(text));
}

}  // namespace lm::jinja
