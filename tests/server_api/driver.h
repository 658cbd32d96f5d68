// A request through read, plan, an engine and its answer, without HTTP.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/engine_fixture.h"
#include "tests/server_api/facts_fixture.h"

namespace lm::api_test {

struct Driver {
  Driver(api::ModelFacts known, std::unique_ptr<Engine> started)
      : about(std::move(known)), engine(std::move(started)) {}
  /// Over a golden model.
  explicit Driver(const std::string& model, const std::string& source = kTemplate)
      : Driver(facts(source, 512, model),
               engine_fixture::make_engine(engine_fixture::load_model(model), 512)) {}

  Received run(api::Endpoint endpoint, const std::string& body) {
    Received got;
    auto read = api::read(endpoint, body);
    EXPECT_TRUE(read) << read.error().message;
    if (!read) {
      return got;
    }
    auto work = api::plan(*read, about, kHere);
    EXPECT_TRUE(work) << work.error().message;
    if (!work) {
      return got;
    }
    got.add(work->answer->begin(kNow));
    std::vector<RequestId> ids;
    for (Command& command : work->commands) {
      std::visit(
          [&](auto& c) {
            if constexpr (requires { engine->submit(c); }) {
              c.id = ++last_id;
              ids.push_back(c.id);
              if (auto sent = engine->submit(std::move(c)); !sent) {
                got.add(work->answer->fail(api::api_error(sent.error()), kNow));
              }
            }
          },
          command);
    }
    for (std::size_t job = 0; job < ids.size() && !got.complete; ++job) {
      for (bool more = true; more && !got.complete;) {
        auto event = engine->next(ids[job], std::chrono::seconds(60));
        if (!event) {
          ADD_FAILURE() << "no event";
          return got;
        }
        more = event->kind != Event::Kind::done && event->kind != Event::Kind::error;
        got.add(work->answer->take(job, std::move(*event), kNow));
      }
    }
    EXPECT_TRUE(got.complete);
    return got;
  }

  api::ModelFacts about;
  std::unique_ptr<Engine> engine;
  RequestId last_id = 0;
};

}  // namespace lm::api_test
