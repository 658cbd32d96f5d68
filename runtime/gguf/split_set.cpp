#include "runtime/gguf/split_set.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include <fmt/core.h>

#include "runtime/gguf/split_name.h"

namespace lm::gguf {
namespace {

constexpr std::uint64_t kMaxParts = 99'999;  // five digits in the file name
constexpr const char* kMixedUp = "the files do not belong together, get the model again";

/// split.no of a file that has split.count; the file name, where it says a number too, must agree.
Result<std::uint64_t> split_number(const ByteSource& source, const Part& part,
                                   std::uint64_t count) {
  LM_TRY(const std::int64_t claimed, part.metadata.get_int("split.no"));
  const auto number = static_cast<std::uint64_t>(claimed);
  if (claimed < 0 || number >= count) {
    return fail(ErrorCode::bad_value, source.name(),
                fmt::format("key 'split.no' is {}, expected 0 to {}", claimed, count - 1),
                kMixedUp);
  }
  const std::optional<SplitName> name = parse_split_name(source.name());
  if (name && (name->number != number + 1 || name->count != count)) {
    return fail(
        ErrorCode::bad_value, source.name(),
        fmt::format(
            "keys 'split.no' and 'split.count' say part {} of {}, the file name says part {} of {}",
            number + 1, count, name->number, name->count),
        kMixedUp);
  }
  return number;
}

/// split.no of the parts that are there -> index in the vector of parts.
using PartOrder = std::map<std::uint64_t, std::size_t>;

/// "parts 2 (a-00002-of-00005.gguf), 3 (...) and 2 more".
std::string list_missing(const PartOrder& order, std::uint64_t count, const ByteSource& source) {
  constexpr std::uint64_t kListed = 8;
  const std::optional<SplitName> name = parse_split_name(source.name());
  const std::uint64_t n_missing = count - order.size();
  std::string text = n_missing == 1 ? "part " : "parts ";
  std::uint64_t listed = 0;
  for (std::uint64_t number = 0; number < count && listed < kListed; ++number) {
    if (order.contains(number)) {
      continue;
    }
    text += listed == 0 ? "" : ", ";
    text += name ? fmt::format("{} ({})", number + 1, split_path(name->prefix, number + 1, count))
                 : std::to_string(number + 1);
    ++listed;
  }
  if (n_missing > listed) {
    text += fmt::format(" and {} more", n_missing - listed);
  }
  return text;
}

Result<void> check_tensor_total(const std::vector<OpenPart>& parts) {
  std::uint64_t total = 0;
  for (const OpenPart& p : parts) {
    total += p.part.tensors.size();
  }
  for (const OpenPart& p : parts) {
    LM_TRY(const std::int64_t claimed,
           p.part.metadata.int_or("split.tensors.count", static_cast<std::int64_t>(total)));
    if (claimed != static_cast<std::int64_t>(total)) {
      return fail(ErrorCode::bad_value, p.source->name(),
                  fmt::format("key 'split.tensors.count' is {}, the {} parts hold {} tensors",
                              claimed, parts.size(), total),
                  kMixedUp);
    }
  }
  return {};
}

}  // namespace

Result<std::uint64_t> split_count(const ByteSource& source, const Part& part) {
  LM_TRY(const std::int64_t claimed, part.metadata.int_or("split.count", 1));
  if (claimed < 0 || static_cast<std::uint64_t>(claimed) > kMaxParts) {
    return fail(ErrorCode::bad_value, source.name(),
                fmt::format("key 'split.count' is {}, expected 1 to {}", claimed, kMaxParts),
                "the file is malformed, get it again");
  }
  return claimed == 0 ? 1 : static_cast<std::uint64_t>(claimed);
}

Result<void> order_parts(std::vector<OpenPart>& parts) {
  LM_TRY(const std::uint64_t count, split_count(*parts.front().source, parts.front().part));
  if (count == 1 && parts.size() == 1) {
    return {};
  }
  if (count == 1) {
    return fail(
        ErrorCode::bad_value, parts.front().source->name(),
        fmt::format("is a whole model, but {} files were given as the parts of one", parts.size()),
        kMixedUp);
  }
  PartOrder order;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const ByteSource& source = *parts[i].source;
    LM_TRY(const std::uint64_t own_count, split_count(source, parts[i].part));
    if (own_count != count) {
      return fail(ErrorCode::bad_value, source.name(),
                  fmt::format("key 'split.count' is {}, expected {} as in {}", own_count, count,
                              parts.front().source->name()),
                  kMixedUp);
    }
    LM_TRY(const std::uint64_t number, split_number(source, parts[i].part, count));
    const auto [other, is_new] = order.emplace(number, i);
    if (!is_new) {
      return fail(ErrorCode::duplicate, source.name(),
                  fmt::format("key 'split.no' is {}, as in {}", number,
                              parts[other->second].source->name()),
                  kMixedUp);
    }
  }
  if (parts.size() < count) {
    return fail(ErrorCode::missing, parts.front().source->name(),
                fmt::format("is one of {} files of a split model; missing: {}", count,
                            list_missing(order, count, *parts.front().source)),
                "get the missing files, or pull the model again");
  }
  LM_CHECK(check_tensor_total(parts));
  std::vector<OpenPart> sorted;
  sorted.reserve(count);
  for (const auto& [number, i] : order) {
    sorted.push_back(std::move(parts[i]));
  }
  parts = std::move(sorted);
  return {};
}

}  // namespace lm::gguf
