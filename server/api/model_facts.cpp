#include "server/api/model_facts.h"

#include <array>
#include <unordered_set>
#include <utility>

#include "runtime/model/model.h"

namespace lm::api {
namespace {

struct FillRow {
  std::string_view prefix, suffix, middle;
  bool suffix_first;
};

/// As the vocabularies of models spell them that were taught it.
constexpr std::array kFillRows{
    FillRow{"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", false},
    FillRow{"<fim_prefix>", "<fim_suffix>", "<fim_middle>", false},
    FillRow{"<fim-prefix>", "<fim-suffix>", "<fim-middle>", false},
    FillRow{"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", false},
    FillRow{"▁<PRE>", "▁<SUF>", "▁<MID>", false},
    FillRow{"<PRE>", "<SUF>", "<MID>", false},
    FillRow{"[PREFIX]", "[SUFFIX]", "", true},
};

}  // namespace

std::optional<FillMarks> fill_marks(const Vocab& vocab) {
  std::unordered_set<std::string_view> wanted;
  for (const FillRow& row : kFillRows) {
    wanted.insert({row.prefix, row.suffix, row.middle});
  }
  std::unordered_set<std::string_view> found = {""};
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const std::string_view text = vocab.text(static_cast<Token>(i));
    if (const auto it = wanted.find(text); it != wanted.end()) {
      found.insert(*it);
    }
  }
  for (const FillRow& row : kFillRows) {
    if (found.contains(row.prefix) && found.contains(row.suffix) && found.contains(row.middle)) {
      return FillMarks{std::string(row.prefix), std::string(row.suffix), std::string(row.middle),
                       row.suffix_first};
    }
  }
  return std::nullopt;
}

Result<ModelFacts> facts_of(const GgufFile& file, const std::string& name,
                            const std::string& template_source) {
  ModelFacts facts;
  facts.name = name;
  LM_TRY(const ModelSummary summary, summarize(file));
  LM_TRY(std::unique_ptr<Tokenizer> tokenizer, Tokenizer::create(file.metadata()));
  facts.tokenizer = std::move(tokenizer);
  facts.format = std::make_shared<ChatFormat>(template_source, name, *facts.tokenizer);
  facts.fill = fill_marks(facts.tokenizer->vocab());
  for (const std::string& capability : summary.capabilities) {
    facts.embeds = facts.embeds || capability == "embedding";
  }
  // Vectors that were stored by older clients came from such models as they are.
  if (summary.architecture.starts_with("nomic-bert")) {
    LM_TRY(facts.normalizes,
           file.metadata().bool_or(summary.architecture + ".normalize_embeddings", false));
  }
  return facts;
}

}  // namespace lm::api
