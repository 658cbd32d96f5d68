/// Tokens of a grammar ("lexemes": a string, a number, a comma with its spaces) as deterministic
/// automata over bytes, whose states and rows are made when they are first reached.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/grammar/regex.h"

namespace lm::grammar {

/// A state of any lexeme. 0 is the dead state.
using ByteState = std::uint32_t;
constexpr ByteState kDead = 0;
constexpr std::int32_t kNotAccepting = -1;

/// One language of a lexeme. When the lexeme ends in it, its tag tells which one it was.
struct Tagged {
  std::int32_t tag;
  NodeId language;
  auto operator<=>(const Tagged&) const = default;
};

class Lexer {
 public:
  explicit Lexer(RegexPool& pool);

  /// A lexeme whose UTF-8 is the text itself. kDead when it can't be anything.
  ByteState text(NodeId language);
  /// A JSON string, quotes included, whose value is in one of `of` (disjoint languages). Every
  /// character may be written as itself or escaped, as JSON allows.
  ByteState json_string(std::vector<Tagged> of);
  /// A lexeme that is these bytes, which need not be UTF-8. At most 255.
  ByteState bytes(const std::string& bytes);
  /// From now on strings are written without \/, \b, \f and \u: as other languages read them too.
  void use_plain_escapes() { plain_escapes_ = true; }

  ByteState next(ByteState state, std::uint8_t byte) { return row(state)[byte]; }
  const std::array<ByteState, 256>& row(ByteState state);
  /// Tag of the language that is complete here, or kNotAccepting.
  std::int32_t accepts(ByteState state) const { return states_[state].accepts; }
  /// Can any byte follow?
  bool goes_on(ByteState state);
  /// A state with the same transitions for the next `bytes` bytes, shared by all long counted
  /// strings: what a mask may be remembered under.
  ByteState alike(ByteState state, std::uint32_t bytes);

 private:
  /// Where in a character the state stands.
  enum class Place : std::uint8_t {
    dead,
    text,         ///< between characters
    utf8,         ///< `bits` so far, `left` continuation bytes to come
    quote,        ///< before the opening quote
    inside,       ///< between characters of a string
    string_utf8,  ///< as utf8
    escape,       ///< after a backslash
    hex,          ///< in \u: `bits` so far, `left` digits to come
    low_escape,   ///< a high surrogate in `bits`; the backslash is to come
    low_u,        ///< ... the u
    low_hex,      ///< ... `left` digits; `bits` holds both
    bytes,        ///< `left` bytes read of the byte string `bits`
    end           ///< behind the closing quote
  };
  struct State {
    Place place = Place::dead;
    bool settled = false;  ///< whatever the rest of the character is, `chars` is the state after it
    std::uint8_t left = 0;
    std::uint32_t chars = 0;
    std::uint32_t bits = 0;
    auto operator<=>(const State&) const = default;
  };
  struct Info {
    State state;
    std::int32_t accepts = kNotAccepting;
    std::int8_t goes_on = -1;  ///< not known yet
    std::array<ByteState, 256>* row = nullptr;
  };
  /// Between characters: the languages that are left.
  struct Chars {
    std::vector<Tagged> of;
    std::int32_t accepts = kNotAccepting;
    bool expanded = false;
    std::vector<std::pair<char32_t, std::uint32_t>> steps;  ///< from this code point on: state
  };

  std::uint32_t chars_of(std::vector<Tagged> of);
  void expand(std::uint32_t chars);
  std::uint32_t step(std::uint32_t chars, char32_t c);
  /// The one state that all code points of [first, end) lead to; `mixed` when there are several.
  std::uint32_t common_step(std::uint32_t chars, char32_t first, char32_t end, bool& any_live);
  ByteState intern(const State& state);
  ByteState after_character(Place unit, std::uint32_t chars);
  ByteState partial(Place place, std::uint32_t chars, bool settled, std::uint32_t bits,
                    std::uint8_t left);
  void fill(const State& s, std::array<ByteState, 256>& row);
  void fill_lead_bytes(const State& s, Place partial_place, std::array<ByteState, 256>& row);
  void fill_continuation(const State& s, std::array<ByteState, 256>& row);
  void fill_escape(const State& s, std::array<ByteState, 256>& row);
  void fill_hex(const State& s, std::array<ByteState, 256>& row);

  RegexPool& pool_;
  std::vector<Chars> chars_;
  std::map<std::vector<Tagged>, std::uint32_t> chars_ids_;
  std::vector<Info> states_;
  std::map<State, ByteState> state_ids_;
  std::deque<std::array<ByteState, 256>> rows_;
  std::vector<std::string> byte_strings_;
  bool plain_escapes_ = false;
};

}  // namespace lm::grammar
