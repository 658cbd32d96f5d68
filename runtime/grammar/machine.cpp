#include "runtime/grammar/machine.h"

#include <algorithm>
#include <unordered_set>

namespace lm::grammar {

std::size_t Machine::FrameHash::operator()(const Frame& f) const {
  std::uint64_t hash = f.kind;
  for (const std::uint32_t value : {f.a, f.b, f.parent}) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 32;
  }
  return hash;
}

Machine::Machine(RegexPool& pool, Lexer& lexer, Expander& expander)
    : pool_(pool), lexer_(lexer), expander_(expander) {
  frames_.emplace_back();
  configs_.emplace_back();
  config_ids_.emplace(std::vector<StackId>{}, kStuck);
}

StackId Machine::push(std::uint8_t kind, std::uint32_t a, std::uint32_t b, StackId parent) {
  const Frame frame{kind, a, b, parent};
  const auto [at, fresh] = frame_ids_.try_emplace(frame, static_cast<StackId>(frames_.size()));
  if (fresh) {
    budget().memory(sizeof(Frame) * 4);
    frames_.push_back(frame);
  }
  return at->second;
}

void Machine::push_lexeme(ByteState state, StackId parent, std::vector<StackId>& out,
                          std::uint32_t text) {
  if (state != kDead) {
    out.push_back(push(kLexeme, state, text, parent));
  }
}

ConfigId Machine::intern(std::vector<StackId> stacks) {
  std::sort(stacks.begin(), stacks.end());
  stacks.erase(std::unique(stacks.begin(), stacks.end()), stacks.end());
  if (stacks.size() > kMaxStacks) {
    budget().spend("has more than 10000 readings at one position");
    return kStuck;
  }
  const auto [at, fresh] = config_ids_.try_emplace(stacks, static_cast<ConfigId>(configs_.size()));
  if (fresh) {
    if (!budget().memory(stacks.size() * 8 + 160)) {
      config_ids_.erase(at);
      return kStuck;
    }
    Config config;
    config.complete = !stacks.empty() && stacks.front() == 0;
    if (config.complete) {
      stacks.erase(stacks.begin());
    }
    config.stacks = std::move(stacks);
    configs_.push_back(std::move(config));
  }
  return at->second;
}

/// Expands tops until each is a lexeme that wants a byte (or the stack is empty).
void Machine::close(std::vector<Returned> work, std::vector<StackId>& out) {
  std::unordered_set<std::uint64_t> seen;
  std::vector<StackId> expanded;
  while (!work.empty() && budget().tick()) {
    const Returned at = work.back();
    work.pop_back();
    if (at.stack == 0) {
      out.push_back(0);
      continue;
    }
    // Only frames that were pushed may be skipped: those returned to differ by tag.
    if (at.tag == kNotAccepting && !seen.insert(std::uint64_t{at.text} << 32 | at.stack).second) {
      continue;
    }
    const Frame frame = frames_[at.stack];
    if (frame.kind == kLexeme) {
      if (const std::int32_t tag = lexer_.accepts(frame.a); tag != kNotAccepting) {
        work.push_back({frame.parent, tag, frame.b});
      }
      if (lexer_.goes_on(frame.a)) {
        out.push_back(at.stack);
      }
      continue;
    }
    expanded.clear();
    expander_.expand(*this, frame, at.tag, at.text, expanded);
    for (const StackId stack : expanded) {
      const std::uint8_t kind = frames_[stack].kind;
      const bool records = (kind & kRecords) != 0;
      work.push_back({stack, kNotAccepting, !records ? 0 : at.text == 0 ? kNoText : at.text});
    }
    if (seen.size() > kMaxStacks) {
      budget().spend("has more than 10000 readings at one position");
      return;
    }
  }
}

ConfigId Machine::closure(const std::vector<StackId>& stacks) {
  std::vector<Returned> work;
  for (const StackId stack : stacks) {
    work.push_back({stack, kNotAccepting, 0});
  }
  std::vector<StackId> out;
  close(std::move(work), out);
  return intern(std::move(out));
}

ConfigId Machine::after_lexeme(StackId parent, std::int32_t tag, std::uint32_t text) {
  std::vector<StackId> out;
  close({{parent, tag, text}}, out);
  return intern(std::move(out));
}

ConfigId Machine::step(ConfigId config, std::uint8_t byte) {
  if (config == kStuck) {
    return kStuck;
  }
  const std::uint64_t key = std::uint64_t{config} << 8 | byte;
  if (const auto known = steps_.find(key); known != steps_.end()) {
    return known->second;
  }
  std::vector<Returned> work;
  std::vector<StackId> out;
  const std::vector<StackId> stacks = configs_[config].stacks;
  for (const StackId stack : stacks) {
    const Frame frame = frames_[stack];
    const ByteState next = lexer_.next(frame.a, byte);
    if (next == kDead) {
      continue;
    }
    const std::uint32_t text = frame.b == 0 ? 0 : record(frame.b, byte);
    work.push_back({push(kLexeme, next, text, frame.parent), kNotAccepting, 0});
  }
  close(std::move(work), out);
  const ConfigId next = intern(std::move(out));
  if (!budget().spent() && budget().memory(40)) {
    steps_.emplace(key, next);
  }
  return next;
}

ConfigId Machine::step(ConfigId config, std::string_view bytes) {
  for (const char byte : bytes) {
    config = step(config, static_cast<std::uint8_t>(byte));
  }
  return config;
}

std::uint32_t Machine::record(std::uint32_t text, std::uint8_t byte) {
  if (text == kAnyText) {
    return kAnyText;
  }
  const auto [at, fresh] = recorded_ids_.try_emplace(std::uint64_t{text} << 8 | byte,
                                                     static_cast<std::uint32_t>(recorded_.size()));
  if (fresh) {
    budget().memory(48);
    recorded_.push_back({text, byte});
  }
  return at->second;
}

std::uint32_t Machine::record(std::uint32_t text, std::string_view bytes) {
  for (const char byte : bytes) {
    text = record(text, static_cast<std::uint8_t>(byte));
  }
  return text;
}

std::string Machine::recorded(std::uint32_t text, std::uint32_t from) const {
  std::string out;
  for (; text > kNoText && text != from; text = recorded_[text].parent) {
    out.push_back(static_cast<char>(recorded_[text].byte));
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace lm::grammar
