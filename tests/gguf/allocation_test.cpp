// How much is allocated for what a file merely claims, and what happens when an allocation fails.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/gguf/gguf_file.h"
#include "tests/gguf/reading.h"
#include "tests/support/hostile_gguf.h"
#include "tests/support/test_data.h"

namespace {

/// What operator new of this program watches while `Watch` is alive, on this thread.
struct AllocationWatch {
  bool active = false;
  std::size_t largest = 0;
  std::size_t total = 0;
  std::size_t count = 0;
  std::size_t fail_first = SIZE_MAX;  ///< number of the first call that fails, from 1
  std::size_t fail_last = SIZE_MAX;
};
thread_local AllocationWatch watch;

void* allocate(std::size_t size) {
  if (watch.active) {
    ++watch.count;
    watch.largest = std::max(watch.largest, size);
    watch.total += size;
    if (watch.count >= watch.fail_first && watch.count <= watch.fail_last) {
      throw std::bad_alloc();
    }
  }
  void* memory = std::malloc(std::max<std::size_t>(size, 1));
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

// Not inlined: g++ 12 would see free() on what new gave and call it a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  return allocate(size);
}
[[gnu::noinline]] void* operator new[](std::size_t size) {
  return allocate(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace lm {
namespace {

/// Calls `action` with allocations counted, and those numbered `first` to `last` failing.
template <class Action>
auto watched(Action&& action, std::size_t first = SIZE_MAX, std::size_t last = SIZE_MAX) {
  watch = {true, 0, 0, 0, first, last};
  auto result = action();
  watch.active = false;
  return result;
}

std::vector<std::unique_ptr<ByteSource>> sources_of(test::ByteVector bytes) {
  std::vector<std::unique_ptr<ByteSource>> sources;
  sources.push_back(memory_source(std::move(bytes), "a file with a name that needs memory.gguf"));
  return sources;
}

TEST(GgufAllocation, ClaimsCostNoMemory) {
  std::size_t largest = 0;
  for (const test::HostileGguf& c : test::hostile_ggufs()) {
    auto sources = sources_of(c.bytes);
    const auto file = watched([&] { return GgufFile::read(std::move(sources)); });
    EXPECT_FALSE(file.has_value());
    EXPECT_LT(watch.largest, 64u << 10) << c.name;
    EXPECT_LT(watch.total, 256u << 10) << c.name;
    largest = std::max(largest, watch.largest);
  }
  std::cout << "largest allocation " << largest << " bytes\n";
}

TEST(GgufAllocation, StringsAreNotCopied) {
  test::GgufWriter w;
  w.add_strings("tokens", std::vector<std::string>(
                              20'000, "a token of some length, so that copies would show"));
  auto sources = sources_of(w.build());
  const auto file = watched([&] { return GgufFile::read(std::move(sources)); });
  ASSERT_TRUE(file.has_value());
  EXPECT_LT(watch.total, 10'000u);
}

/// Fails each allocation of `action` in turn, once alone and once with all that follow. `action`
/// gives nothing when it succeeded, else its error's code.
std::size_t sweep(const std::function<std::function<std::optional<ErrorCode>()>()>& prepare,
                  bool any_code = false) {
  std::size_t points = 0;
  for (const bool from_then_on : {false, true}) {
    for (std::size_t k = 1;; ++k) {
      const auto action = prepare();
      const std::optional<ErrorCode> code = watched(action, k, from_then_on ? SIZE_MAX : k);
      if (watch.count < k) {
        break;  // all allocations have been tried
      }
      ++points;
      EXPECT_TRUE(code.has_value()) << "allocation " << k << " failed unseen";
      if (code && !any_code) {
        EXPECT_EQ(code_name(*code), "out_of_memory") << k;
      }
    }
  }
  return points;
}

template <class T>
std::optional<ErrorCode> code_of(const Result<T>& result) {
  return result ? std::nullopt : std::optional(result.error().code);
}

TEST(GgufAllocation, EveryFailedAllocationOfTheReaderIsAnError) {
  const test::ByteVector bytes = test::tiny_model()
                                     .add_strings("tokens", {"a", "b"})
                                     .add_array<float>("scores", {1.0f})
                                     .build();
  std::size_t points = sweep([&] {
    auto sources = std::make_shared<std::vector<std::unique_ptr<ByteSource>>>(sources_of(bytes));
    return [sources] { return code_of(GgufFile::read(std::move(*sources))); };
  });
  const std::filesystem::path path = test::golden_data() / "quant/Q4_K.gguf";
  points += sweep([&] { return [&] { return code_of(GgufFile::open(path)); }; });
  std::cout << points << " failed allocations\n";
  EXPECT_GT(points, 100u);
}

TEST(GgufAllocation, FailuresWhileReportingAnErrorAreErrors) {
  std::size_t points = 0;
  std::size_t n = 0;
  for (const test::HostileGguf& c : test::hostile_ggufs()) {
    if (n++ % 10 == 0 && c.bytes.size() < 10'000) {
      points += sweep(
          [&] {
            auto sources =
                std::make_shared<std::vector<std::unique_ptr<ByteSource>>>(sources_of(c.bytes));
            return [sources] { return code_of(GgufFile::read(std::move(*sources))); };
          },
          true);
    }
  }
  std::cout << points << " failed allocations\n";
  EXPECT_GT(points, 100u);
}

TEST(GgufAllocation, EveryFailedAllocationOfAGetterIsAnError) {
  const auto file = test::read_bytes(test::tiny_keys()
                                         .add_strings("tokens", {"a", "b"})
                                         .add_array<float>("scores", {1.0f})
                                         .add_u32("n", 3)
                                         .build(),
                                     "a file with a name that needs memory.gguf");
  ASSERT_TRUE(file.has_value());
  const Metadata& m = file->metadata();
  std::size_t points = sweep([&] { return [&] { return code_of(m.try_strings("tokens")); }; });
  points += sweep([&] { return [&] { return code_of(m.try_floats("scores")); }; });
  points += sweep([&] { return [&] { return code_of(m.try_ints("n")); }; });
  points += sweep([&] { return [&] { return code_of(m.get_int("absent")); }; }, true);
  points += sweep([&] { return [&] { return code_of(m.get_string("n")); }; }, true);
  std::cout << points << " failed allocations\n";
  EXPECT_GT(points, 10u);
}

}  // namespace
}  // namespace lm
