/// The pushdown automaton that masks decoding and checks texts: sets of stacks, stepped byte by
/// byte. Stacks share their tails (a graph-structured stack, Tomita 1985) and every stack, set of
/// stacks and step between sets is kept once, so that a position met before costs a look-up. The
/// idea of running such an automaton over a vocabulary is that of XGrammar (Dong et al. 2024).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/grammar/lexer.h"

namespace lm::grammar {

using StackId = std::uint32_t;   ///< 0 is the empty stack: the text is complete
using ConfigId = std::uint32_t;  ///< a set of stacks; 0 is the empty set: the text can't go on
constexpr ConfigId kStuck = 0;

/// What is still to be done, above the rest of the stack. Kind 0 is a lexeme in the state `a`, `b`
/// is the recorded text (see `Machine::record`) or 0; other kinds belong to the expander.
struct Frame {
  std::uint8_t kind = 0;
  std::uint32_t a = 0, b = 0;
  StackId parent = 0;
  bool operator==(const Frame&) const = default;
};
constexpr std::uint8_t kLexeme = 0;
/// Bit of a frame's kind: the text read so far goes on being recorded above it, and is handed to
/// the frame when it comes to the top.
constexpr std::uint8_t kRecords = 0x40;
/// Stands for a recorded text that is not known: what follows must hold for all texts.
constexpr std::uint32_t kAnyText = 0xFFFFFFFF;
/// The recorded text of length 0.
constexpr std::uint32_t kNoText = 1;

class Machine;

/// Says what a frame stands for. The only part of the automaton that knows schemas or rules.
class Expander {
 public:
  virtual ~Expander() = default;
  /// A frame other than a lexeme is on top: appends the stacks it may be replaced by. `tag` is that
  /// of the lexeme that has just ended above it, or kNotAccepting when the frame was pushed; `text`
  /// is what was recorded (0 when nothing is).
  virtual void expand(Machine& machine, const Frame& frame, std::int32_t tag, std::uint32_t text,
                      std::vector<StackId>& out) = 0;
  /// What the frame wants to know of the recorded text when the lexeme above it ends inside a
  /// token.
  enum class Interest : std::uint8_t {
    none,    ///< nothing: what follows is worked out once, with kAnyText
    permit,  ///< `allows` is asked for each text; what follows is worked out once, with kAnyText
    exact    ///< what follows is worked out for each text
  };
  virtual Interest interest(const Frame&) { return Interest::none; }
  /// May the lexeme above `frame` end with this recorded text?
  virtual bool allows(const Frame&, const std::string&) { return true; }
};

class Machine {
 public:
  Machine(RegexPool& pool, Lexer& lexer, Expander& expander);

  StackId push(std::uint8_t kind, std::uint32_t a, std::uint32_t b, StackId parent);
  /// Pushes a lexeme; nothing when it is dead.
  void push_lexeme(ByteState state, StackId parent, std::vector<StackId>& out,
                   std::uint32_t text = 0);
  const Frame& frame(StackId id) const { return frames_[id]; }

  /// The set of stacks that `stacks` stand for once every top is a lexeme.
  ConfigId closure(const std::vector<StackId>& stacks);
  /// The same after the lexeme above `parent` has ended.
  ConfigId after_lexeme(StackId parent, std::int32_t tag, std::uint32_t text);
  const std::vector<StackId>& stacks(ConfigId config) const { return configs_[config].stacks; }
  bool complete(ConfigId config) const { return configs_[config].complete; }
  ConfigId step(ConfigId config, std::uint8_t byte);
  ConfigId step(ConfigId config, std::string_view bytes);

  /// Texts recorded while lexemes are read, kept as a tree: `text` followed by a byte.
  std::uint32_t record(std::uint32_t text, std::uint8_t byte);
  std::uint32_t record(std::uint32_t text, std::string_view bytes);
  /// What was recorded behind `from`.
  std::string recorded(std::uint32_t text, std::uint32_t from = kNoText) const;

  Lexer& lexer() { return lexer_; }
  Expander& expander() { return expander_; }
  RegexPool& pool() { return pool_; }
  Budget& budget() { return pool_.budget(); }

 private:
  struct FrameHash {
    std::size_t operator()(const Frame& f) const;
  };
  struct Config {
    std::vector<StackId> stacks;
    bool complete = false;
  };
  struct Recorded {
    std::uint32_t parent;
    std::uint8_t byte;
  };
  struct Returned {
    StackId stack;
    std::int32_t tag;
    std::uint32_t text;
  };
  ConfigId intern(std::vector<StackId> stacks);
  void close(std::vector<Returned> work, std::vector<StackId>& out);

  RegexPool& pool_;
  Lexer& lexer_;
  Expander& expander_;
  std::vector<Frame> frames_;
  std::unordered_map<Frame, StackId, FrameHash> frame_ids_;
  std::vector<Config> configs_;
  std::map<std::vector<StackId>, ConfigId> config_ids_;
  std::unordered_map<std::uint64_t, ConfigId> steps_;
  std::vector<Recorded> recorded_ = {{0, 0}, {0, 0}};
  std::unordered_map<std::uint64_t, std::uint32_t> recorded_ids_;
};

}  // namespace lm::grammar
