// Names of general.file_type as ggml's tools write them, and the majority of the tensor table where
// the key is absent.
#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "backends/dtype.h"
#include "runtime/gguf/gguf_file.h"

namespace lm {
namespace {

struct FileType {
  std::int64_t id;
  std::string_view name;
};

constexpr std::array kFileTypes = {
    FileType{0, "F32"},     FileType{1, "F16"},      FileType{2, "Q4_0"},
    FileType{3, "Q4_1"},    FileType{7, "Q8_0"},     FileType{8, "Q5_0"},
    FileType{9, "Q5_1"},    FileType{10, "Q2_K"},    FileType{11, "Q3_K_S"},
    FileType{12, "Q3_K_M"}, FileType{13, "Q3_K_L"},  FileType{14, "Q4_K_S"},
    FileType{15, "Q4_K_M"}, FileType{16, "Q5_K_S"},  FileType{17, "Q5_K_M"},
    FileType{18, "Q6_K"},   FileType{19, "IQ2_XXS"}, FileType{20, "IQ2_XS"},
    FileType{21, "Q2_K_S"}, FileType{22, "IQ3_XS"},  FileType{23, "IQ3_XXS"},
    FileType{24, "IQ1_S"},  FileType{25, "IQ4_NL"},  FileType{26, "IQ3_S"},
    FileType{27, "IQ3_M"},  FileType{28, "IQ2_S"},   FileType{29, "IQ2_M"},
    FileType{30, "IQ4_XS"}, FileType{31, "IQ1_M"},   FileType{32, "BF16"},
    FileType{36, "TQ1_0"},  FileType{37, "TQ2_0"},   FileType{38, "MXFP4_MOE"},
    FileType{39, "NVFP4"},  FileType{40, "Q1_0"},    FileType{41, "Q2_0"},
};

/// Added to a file type that its writer only guessed.
constexpr std::int64_t kGuessed = 1024;

}  // namespace

std::string quantization_name(const GgufFile& file) {
  const Result<std::optional<std::int64_t>> claimed = file.metadata().try_int("general.file_type");
  if (claimed && *claimed) {
    const std::int64_t id = **claimed & ~kGuessed;
    for (const FileType& type : kFileTypes) {
      if (type.id == id) {
        return std::string(type.name);
      }
    }
  }
  std::map<DType, std::uint64_t> bytes;
  for (const GgufTensor& tensor : file.tensors()) {
    bytes[tensor.dtype] += tensor.bytes;
  }
  const auto largest = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return largest == bytes.end() ? "unknown" : layout(largest->first).name;
}

}  // namespace lm
