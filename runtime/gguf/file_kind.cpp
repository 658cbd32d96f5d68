#include "runtime/gguf/file_kind.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace lm::gguf {
namespace {

using std::literals::operator""sv;

constexpr std::string_view kConvert = "convert it to GGUF first";
constexpr std::string_view kUnpack = "unpack it first";
constexpr std::string_view kGetAgain = "get the .gguf file itself";

struct Signature {
  std::string_view magic;
  FileKind kind;
};

// The old llama.cpp containers wrote their four letters as a little-endian number, hence backwards.
constexpr std::array kSignatures = {
    Signature{
        "version https://git-lfs"sv,
        {"a Git LFS pointer, not the model", "run: git lfs pull, or download the file itself"}},
    Signature{"lmgg"sv,
              {"an old GGML file", "convert it to GGUF, or get a newer copy of the model"}},
    Signature{"fmgg"sv,
              {"an old GGMF file", "convert it to GGUF, or get a newer copy of the model"}},
    Signature{"tjgg"sv,
              {"an old GGJT file", "convert it to GGUF, or get a newer copy of the model"}},
    Signature{"algg"sv, {"an old GGLA adapter", "convert it to GGUF, or get a newer copy"}},
    Signature{"FUGG"sv,
              {"a big-endian GGUF file, which is not supported",
               "get a little-endian copy of the model"}},
    Signature{"PK\x03\x04"sv, {"a zip archive (a PyTorch checkpoint?)", kConvert}},
    Signature{"\x1f\x8b"sv, {"a gzip archive", kUnpack}},
    Signature{"\x28\xb5\x2f\xfd"sv, {"a zstd archive", kUnpack}},
    Signature{"\xfd"
              "7zXZ"sv,
              {"an xz archive", kUnpack}},
    Signature{"BZh"sv, {"a bzip2 archive", kUnpack}},
    Signature{"7z\xbc\xaf\x27\x1c"sv, {"a 7-Zip archive", kUnpack}},
    Signature{"\x89HDF\r\n\x1a\n"sv, {"an HDF5 file", kConvert}},
    Signature{"\x80\x02"sv, {"a Python pickle (an old PyTorch checkpoint?)", kConvert}},
    Signature{"\x7f"
              "ELF"sv,
              {"a program, not a model", kGetAgain}},
};

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_any_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(),
                                                    [](char a, char b) { return a == lower(b); });
}

/// A safetensors file: the length of a JSON object as u64, then the object.
bool is_safetensors(std::string_view head) {
  constexpr std::uint64_t kLargestHeader = 100'000'000;
  if (head.size() < 9 || head[8] != '{') {
    return false;
  }
  std::uint64_t length = 0;
  for (std::size_t i = 8; i > 0; --i) {
    length = length << 8 | static_cast<unsigned char>(head[i - 1]);
  }
  return length >= 2 && length <= kLargestHeader;
}

bool is_text(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u >= 0x20 || c == '\n' || c == '\r' || c == '\t';
  });
}

}  // namespace

FileKind recognise(std::span<const std::byte> bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (const Signature& s : kSignatures) {
    if (head.starts_with(s.magic)) {
      return s.kind;
    }
  }
  if (is_safetensors(head)) {
    return {"a safetensors file", kConvert};
  }
  if (std::all_of(head.begin(), head.end(), [](char c) { return c == '\0'; })) {
    return {"zeros: a download that was not finished", "get the file again"};
  }
  std::string_view text = head;
  if (text.starts_with("\xEF\xBB\xBF")) {
    text.remove_prefix(3);
  }
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  for (const std::string_view opening : {"<!doctype html"sv, "<html"sv, "<head"sv, "<!--"sv}) {
    if (starts_with_any_case(text, opening)) {
      return {"an HTML page, not the model", "the link may need a login; download the file itself"};
    }
  }
  if (text.starts_with("<?xml"sv)) {
    return {"an XML document (an error page?), not the model", kGetAgain};
  }
  if (text.starts_with('{') && is_text(text)) {
    return {"a JSON text (an error message?), not the model", kGetAgain};
  }
  if (is_text(head)) {
    return {"a text file, not the model", kGetAgain};
  }
  return {"no known model format", kGetAgain};
}

}  // namespace lm::gguf
