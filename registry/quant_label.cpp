#include "registry/quant_label.h"

#include <algorithm>
#include <array>
#include <vector>

#include "registry/ascii.h"

namespace lm::registry {
namespace {

constexpr std::array<std::string_view, 45> kLabels = {
    "F32",   "F16",    "BF16",   "Q8_0",    "Q6_K",      "Q5_K_M",   "Q5_K_S",   "Q5_0",
    "Q5_1",  "Q4_K_M", "Q4_K_S", "Q4_0",    "Q4_1",      "Q3_K_L",   "Q3_K_M",   "Q3_K_S",
    "Q2_K",  "Q2_K_S", "IQ4_XS", "IQ4_NL",  "IQ3_M",     "IQ3_S",    "IQ3_XS",   "IQ3_XXS",
    "IQ2_M", "IQ2_S",  "IQ2_XS", "IQ2_XXS", "IQ1_M",     "IQ1_S",    "TQ1_0",    "TQ2_0",
    "MXFP4", "NVFP4",  "Q1_0",   "Q2_0",    "MXFP4_MOE", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8",
    "Q4_K",  "Q5_K",   "Q3_K",   "Q8_K",    "IQ4_KS"};

// hub-protocol.md 8.5.
constexpr std::array<std::string_view, 15> kDefaultOrder = {
    "Q4_K_M", "UD-Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_K_L", "UD-Q4_K_XL", "Q4_0",
    "MXFP4",  "MXFP4_MOE", "Q5_K_M", "Q5_K_S", "Q6_K",   "Q8_0",   "Q3_K_M"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Upper-case token as a label, or empty. Publishers append _L and _XL for wider embeddings
/// ("Q6_K_L").
std::string known(std::string token) {
  if (token == "FP16") {
    return "F16";
  }
  if (token == "FP32") {
    return "F32";
  }
  const auto is_label = [](std::string_view text) {
    return std::find(kLabels.begin(), kLabels.end(), text) != kLabels.end();
  };
  std::string_view stem = token;
  if (!is_label(stem)) {
    for (const std::string_view suffix : {"_XL", "_L"}) {
      if (stem.ends_with(suffix)) {
        stem.remove_suffix(suffix.size());
        break;
      }
    }
  }
  return is_label(stem) ? token : "";
}

/// Base name without ".gguf" and "-00001-of-00003".
std::string_view stem_of(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  if (ends_with_ignoring_case(name, ".gguf")) {
    name.remove_suffix(5);
  }
  constexpr std::size_t kShardSuffix = 15;  // -00001-of-00003
  if (name.size() > kShardSuffix) {
    const std::string_view end = name.substr(name.size() - kShardSuffix);
    const bool digits = std::all_of(end.begin() + 1, end.begin() + 6, is_digit) &&
                        std::all_of(end.begin() + 10, end.end(), is_digit);
    if (digits && end[0] == '-' && equal_ignoring_case(end.substr(6, 4), "-of-")) {
      name.remove_suffix(kShardSuffix);
    }
  }
  return name;
}

}  // namespace

std::string label_of_file(std::string_view path) {
  std::vector<std::string> tokens;
  std::string token;
  for (const char c : to_upper(stem_of(path))) {
    if (c == '.' || c == '-' || c == ' ') {
      tokens.push_back(std::move(token));
      token.clear();
    } else {
      token += c;
    }
  }
  tokens.push_back(std::move(token));
  for (std::size_t i = tokens.size(); i-- > 0;) {
    std::string label = known(tokens[i]);
    if (label.empty()) {
      // "model_q4_k_m" and "mxbai_fp16": a label after an underscore, the longest that is one.
      for (std::size_t at = tokens[i].find('_'); at != std::string::npos && label.empty();
           at = tokens[i].find('_', at + 1)) {
        label = known(tokens[i].substr(at + 1));
      }
    }
    if (label.empty()) {
      continue;
    }
    if (i > 0 && tokens[i - 1] == "UD") {
      return "UD-" + label;
    }
    if (i > 0 && tokens[i - 1] == "I1") {
      return "i1-" + label;
    }
    return label;
  }
  return {};
}

std::string label_of_text(std::string_view text) {
  std::string upper = to_upper(text);
  std::string prefix;
  for (const std::string_view start : {"UD-", "UD_", "I1-", "I1_"}) {
    if (upper.starts_with(start)) {
      prefix = start[0] == 'U' ? "UD-" : "i1-";
      upper.erase(0, start.size());
      break;
    }
  }
  std::replace(upper.begin(), upper.end(), '-', '_');
  const std::string label = known(upper);
  return label.empty() ? "" : prefix + label;
}

std::string_view without_prefix(std::string_view label) {
  return label.starts_with("UD-") || label.starts_with("i1-") ? label.substr(3) : label;
}

int label_bits(std::string_view label) {
  label = without_prefix(label);
  if (label.ends_with("F32")) {
    return 32;
  }
  if (label.ends_with("F16")) {
    return 16;
  }
  const std::size_t digit = label.find_first_of("0123456789");
  return digit == label.npos ? 0 : label[digit] - '0';
}

int default_rank(std::string_view label) {
  const auto it = std::find(kDefaultOrder.begin(), kDefaultOrder.end(), label);
  return it == kDefaultOrder.end() ? -1 : static_cast<int>(it - kDefaultOrder.begin());
}

}  // namespace lm::registry
