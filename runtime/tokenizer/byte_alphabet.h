/// The printable characters that byte-level BPE vocabularies write for bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/tokenizer/utf8.h"

namespace lm::tokenizer {

/// GPT-2's alphabet: printable bytes of Latin-1 stand for themselves, the others for U+0100, U+0101
/// … in order.
class ByteAlphabet {
 public:
  static constexpr std::uint16_t kNone = 0x100;

  constexpr ByteAlphabet() {
    byte_of_.fill(kNone);
    char16_t next = 0x100;
    for (std::uint16_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char16_t character = printable ? char16_t{byte} : next++;
      character_of_[byte] = character;
      byte_of_[character] = byte;
    }
  }

  char32_t character(unsigned char byte) const { return character_of_[byte]; }
  /// The byte, or kNone for a character outside the alphabet.
  std::uint16_t byte(char32_t character) const {
    return character < byte_of_.size() ? byte_of_[character] : kNone;
  }

  /// Appends the characters of `bytes`.
  void append_characters(std::string& out, std::string_view bytes) const {
    for (const char byte : bytes) {
      utf8::append(out, character(static_cast<unsigned char>(byte)));
    }
  }
  /// Appends the bytes of `characters`; what is outside the alphabet stays as it is.
  void append_bytes(std::string& out, std::string_view characters) const {
    for (std::size_t at = 0; at < characters.size();) {
      const utf8::Character c = utf8::decode(characters, at);
      const std::uint16_t found = byte(c.code_point);
      if (found == kNone) {
        out.append(characters.substr(at, c.bytes));
      } else {
        out.push_back(static_cast<char>(static_cast<unsigned char>(found)));
      }
      at += c.bytes;
    }
  }

 private:
  std::array<char16_t, 256> character_of_{};
  std::array<std::uint16_t, 0x144> byte_of_{};
};

inline constexpr ByteAlphabet kByteAlphabet;

}  // namespace lm::tokenizer
