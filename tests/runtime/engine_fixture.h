// Engines over the tiny golden models, and answers read to their end.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/engine/engine.h"
#include "tests/golden/golden.h"

namespace lm::engine_fixture {

/// `invariant`: with kernels whose results do not depend on the number of rows of a step, so that
/// texts of different batches can be compared to the letter.
inline std::shared_ptr<const Model> load_model(const std::string& name, bool invariant = false) {
  auto file = GgufFile::open(golden::data_dir() / "arch" / (name + ".gguf"));
  EXPECT_TRUE(file) << file.error().problem;
  CpuOptions cpu{.n_threads = 2, .isa_limit = {}};
  if (invariant) {
    cpu.isa_limit = Isa::baseline;
  }
  auto model = Model::load(std::move(*file), {{make_cpu_backend(cpu)}, {}, true});
  EXPECT_TRUE(model) << model.error().subject << " " << model.error().problem;
  return *model;
}

inline EngineOptions engine_options(std::uint32_t n_ctx, std::uint32_t n_seq = 4,
                                    std::uint32_t n_batch = 512) {
  EngineOptions options;
  options.session.n_ctx = n_ctx;
  options.session.n_seq_guaranteed = n_seq;
  options.session.n_batch = n_batch;
  options.session.kv_type = DType::f32;
  return options;
}

inline std::unique_ptr<Engine> make_engine(std::shared_ptr<const Model> model,
                                           std::uint32_t n_ctx = 256, std::uint32_t n_seq = 4,
                                           std::uint32_t n_batch = 512) {
  auto engine = Engine::create(std::move(model), engine_options(n_ctx, n_seq, n_batch));
  EXPECT_TRUE(engine) << engine.error().problem;
  return std::move(*engine);
}

inline Request greedy(RequestId id, std::vector<Token> ids, std::int32_t max_tokens) {
  Request request;
  request.id = id;
  request.ids = std::move(ids);
  request.sampler.temperature = 0.0;
  request.max_tokens = max_tokens;
  return request;
}

/// What a model with random weights says when nothing tames it: any token, the same for one seed.
inline Request anything(RequestId id, std::int64_t seed, std::int32_t max_tokens) {
  Request request;
  request.id = id;
  request.ids = {1, 5, 9};
  request.sampler.temperature = 2;
  request.sampler.top_k = 0;
  request.sampler.top_p = 1;
  request.sampler.seed = seed;
  request.max_tokens = max_tokens;
  return request;
}

struct Answer {
  std::string text, thinking;
  std::vector<Event> all;
  Event last;
};

inline Answer read_all(Engine& engine, RequestId id) {
  Answer answer;
  for (;;) {
    auto event = engine.next(id, std::chrono::seconds(60));
    if (!event) {
      ADD_FAILURE() << "no event of request " << id;
      return answer;
    }
    answer.all.push_back(*event);
    if (event->kind == Event::Kind::content) {
      answer.text += event->text;
    } else if (event->kind == Event::Kind::thinking) {
      answer.thinking += event->text;
    } else if (event->kind == Event::Kind::done || event->kind == Event::Kind::error) {
      answer.last = *event;
      return answer;
    }
  }
}

}  // namespace lm::engine_fixture
