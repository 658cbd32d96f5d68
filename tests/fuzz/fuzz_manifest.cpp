// Files of the store that may be damaged: manifests, journals of downloads, checksums of chunks.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "store/chunk_sums.h"
#include "store/journal.h"
#include "store/json_text.h"
#include "store/manifest.h"
#include "tests/fuzz/require.h"

namespace {

using lm::fuzz::require;

template <class Value>
void check_error(const lm::store::Result<Value>& result) {
  require(result.has_value() || (result.error().subject.find("input") != std::string::npos &&
                                 !result.error().problem.empty()),
          "an error names its file and says what is wrong");
}

}  // namespace

int lm_fuzz_manifest(const std::uint8_t* data, std::size_t size) {
  using namespace lm::store;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = Manifest::from_json(text, "input");
  check_error(manifest);
  if (manifest) {
    require(manifest->layers.size() <= 256, "layers are limited");
    const std::string written = manifest->to_json();
    const auto again = Manifest::from_json(written, "input");
    require(again.has_value() && *again == *manifest && again->to_json() == written,
            "what was read is written and read again");
  }
  // Mutations never hit a checksum, so what lies behind it gets its own.
  check_error(Journal::from_text(text, "input"));
  check_error(ChunkSums::from_text(text, "input"));
  const std::string sealed = seal(std::string(text));
  const auto journal = Journal::from_text(sealed, "input");
  check_error(journal);
  if (journal) {
    require(journal->done_bytes() <= journal->size_bytes, "no more is done than there is");
    const auto again = Journal::from_text(journal->to_text(), "input");
    require(again.has_value() && *again == *journal, "a journal survives writing");
  }
  const auto sums = ChunkSums::from_text(sealed, "input");
  check_error(sums);
  if (sums) {
    require(sums->sums.size() == chunk_count(sums->size_bytes), "a checksum for every chunk");
    require(ChunkSums::from_text(sums->to_text(), "input").has_value(),
            "checksums survive writing");
  }
  return 0;
}
