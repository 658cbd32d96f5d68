// Models in processes of their own: loaded once, shared, evicted, killed.
#include "server/models/models.h"

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <mutex>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/discover.h"
#include "runtime/engine/engine.h"
#include "tests/support/test_data.h"

namespace lm::server {
namespace LM_FILE {

using namespace std::chrono_literals;

std::shared_ptr<const ModelSource> source_of(const std::string& name,
                                             const std::string& file = "llama-gqa.gguf") {
  auto source = std::make_shared<ModelSource>();
  const auto path = test::golden_data() / "arch" / file;
  source->name = name;
  source->id = "id of " + name;
  source->files.emplace_back(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_GE(source->files.back().get(), 0) << path;
  source->labels = {name};
  source->weight_bytes = std::filesystem::file_size(path);
  return source;
}

Request greedy(std::int32_t n, std::uint32_t credit = 1000) {
  Request request;
  request.ids = {3, 5, 7, 11};
  request.sampler.temperature = 0;
  request.max_tokens = n;
  request.credit = credit;
  return request;
}

/// Collects events of one command and lets the test wait.
class Reader {
 public:
  EventSink sink() {
    return [this](Event event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
      changed_.notify_all();
    };
  }
  bool wait_for(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 60s, [&] { return events_.size() >= n; });
  }
  /// The last event's kind; waits for it.
  Event::Kind end() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, 60s, [&] {
      return !events_.empty() && (events_.back().kind == Event::Kind::done ||
                                  events_.back().kind == Event::Kind::error);
    }));
    return events_.empty() ? Event::Kind::stats : events_.back().kind;
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    std::string text;
    for (const Event& event : events_) {
      text += event.kind == Event::Kind::content ? event.text : "";
    }
    return text;
  }
  std::vector<Event> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;  // guards the events
  std::condition_variable changed_;
  std::vector<Event> events_;
};

/// Waits for what `acquire` gives.
class Waiting {
 public:
  OnHold on_hold() {
    return [this](Result<std::shared_ptr<Hold>> hold) {
      const std::lock_guard lock(mutex_);
      hold_ = std::move(hold);
      changed_.notify_all();
    };
  }
  Result<std::shared_ptr<Hold>> get() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 60s, [&] { return hold_.has_value(); })) {
      return lm::fail(ErrorCode::cancelled, "test", "waited in vain");
    }
    auto hold = std::move(*hold_);
    hold_.reset();
    return hold;
  }
  bool has() {
    const std::lock_guard lock(mutex_);
    return hold_.has_value();
  }

 private:
  std::mutex mutex_;  // guards the hold
  std::condition_variable changed_;
  std::optional<Result<std::shared_ptr<Hold>>> hold_;
};

class ModelsTest : public ::testing::Test {
 protected:
  ModelsOptions options() {
    ModelsOptions made;
    made.devices = "cpu";
    made.session.n_ctx = 64;
    made.log = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      lines_.push_back(line);
      changed_.notify_all();
    };
    return made;
  }
  void start(ModelsOptions made) { models_ = std::make_unique<Models>(std::move(made)); }
  std::shared_ptr<Hold> hold(const std::string& name, ModelWish wish = {}) {
    Waiting waiting;
    models_->acquire(source_of(name), wish, waiting.on_hold());
    auto got = waiting.get();
    EXPECT_TRUE(got) << got.error().problem;
    return got ? *got : nullptr;
  }
  std::string answer(Hold& hold, std::int32_t n = 12) {
    Reader reader;
    hold.model().submit(greedy(n), reader.sink());
    EXPECT_EQ(reader.end(), Event::Kind::done);
    return reader.text();
  }
  bool logged(const std::string& part) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 60s, [&] {
      return std::ranges::any_of(lines_, [&](const auto& l) { return l.contains(part); });
    });
  }
  std::vector<std::string> names() {
    std::vector<std::string> out;
    for (const LoadedRow& row : models_->rows()) {
      out.push_back(row.name);
    }
    std::ranges::sort(out);
    return out;
  }

  std::mutex mutex_;  // guards the lines
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  std::unique_ptr<Models> models_;
};

TEST_F(ModelsTest, AnswersAsTheEngineInTheProcessDoes) {
  auto file = GgufFile::open(test::golden_data() / "arch" / "llama-gqa.gguf");
  ASSERT_TRUE(file);
  auto device = open_backend("cpu");
  ASSERT_TRUE(device);
  LoadOptions load;
  load.devices.push_back(std::move(*device));
  auto model = Model::load(std::move(*file), load);
  ASSERT_TRUE(model);
  EngineOptions engine_options;
  engine_options.session.n_ctx = 64;
  auto engine = Engine::create(*model, engine_options);
  ASSERT_TRUE(engine);
  Request request = greedy(12);
  request.id = 1;
  ASSERT_TRUE((*engine)->submit(std::move(request)));
  std::string expected;
  for (auto event = (*engine)->next(1, 60s); event; event = (*engine)->next(1, 60s)) {
    expected += event->kind == Event::Kind::content ? event->text : "";
    if (event->kind == Event::Kind::done) {
      break;
    }
  }
  start(options());
  const auto held = hold("a:latest");
  EXPECT_GT(held->load_ns(), 0u);
  EXPECT_EQ(answer(*held), expected);
  EXPECT_FALSE(expected.empty());
  EXPECT_NE(models_->rows().front().pid, ::getpid());
  EXPECT_EQ(hold("a:latest")->load_ns(), 0u);
  EXPECT_GT(models_->rows().front().figures.kv_bytes, 0u);
}

TEST_F(ModelsTest, AnotherContextReadsNoWeightAgain) {
  start(options());
  auto held = hold("a:latest");
  const std::string text = answer(*held);
  const int pid = models_->rows().front().pid;
  EXPECT_EQ(held->model().ready().n_ctx, 64u);
  // A smaller one is there already; nobody waits.
  EXPECT_EQ(hold("a:latest",
                 {.n_ctx = 32, .n_batch = {}, .n_threads = {}, .gpu_layers = {}, .keep_for = {}})
                ->model()
                .ready()
                .sessions,
            1u);
  // A larger one waits until nobody uses the smaller one, and nobody overtakes who waits for it.
  Waiting larger, behind;
  ModelWish wish;
  wish.n_ctx = 128;
  models_->acquire(source_of("a:latest"), wish, larger.on_hold());
  models_->acquire(source_of("a:latest"), {}, behind.on_hold());
  EXPECT_EQ(models_->rows().front().waiting, 2u);
  EXPECT_EQ(answer(*held), text);
  held.reset();
  auto got = larger.get();
  ASSERT_TRUE(got);
  EXPECT_EQ((*got)->model().ready().n_ctx, 128u);
  EXPECT_EQ(answer(**got), text);
  ASSERT_TRUE(behind.get());
  const LoadedRow row = models_->rows().front();
  EXPECT_EQ(row.pid, pid);
  EXPECT_EQ(row.ready.weight_loads, 1u);
  EXPECT_EQ(row.ready.sessions, 2u);
}

TEST_F(ModelsTest, AContextThatFitsNowhereIsRefusedAndTheOldOneStays) {
  ModelsOptions made = options();
  made.memory_limit = 400u << 20;  // of which 256 MiB are left free
  start(std::move(made));
  const std::string text = answer(*hold("a:latest"));
  ModelWish wish;
  wish.n_ctx = 1u << 26;
  Waiting waiting;
  models_->acquire(source_of("a:latest"), wish, waiting.on_hold());
  auto got = waiting.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::out_of_memory) << got.error().problem;
  EXPECT_EQ(answer(*hold("a:latest")), text);
  EXPECT_EQ(models_->rows().front().ready.weight_loads, 1u);
}

TEST_F(ModelsTest, AKilledRunnerCostsItsOwnRequestsOneErrorEach) {
  start(options());
  auto mine = hold("a:latest");
  auto other = hold("b:latest");
  const std::string text = answer(*other, 40);
  // Both stand still for want of credit in the middle of their answers.
  Reader first, second, neighbour;
  mine->model().submit(greedy(40, 3), first.sink());
  mine->model().submit(greedy(40, 3), second.sink());
  const RequestId slow = other->model().submit(greedy(40, 3), neighbour.sink());
  ASSERT_TRUE(first.wait_for(3));
  ASSERT_TRUE(second.wait_for(3));
  ASSERT_TRUE(neighbour.wait_for(3));
  int pid = 0;
  for (const LoadedRow& row : models_->rows()) {
    pid = row.name == "a:latest" ? row.pid : pid;
  }
  ASSERT_GT(pid, 0);
  ::kill(pid, SIGKILL);
  for (Reader* reader : {&first, &second}) {
    EXPECT_EQ(reader->end(), Event::Kind::error);
    EXPECT_EQ(reader->events().size(), 4u);
    EXPECT_EQ(reader->events().back().error.code, ErrorCode::device_lost);
  }
  EXPECT_TRUE(logged("was killed by signal 9"));
  // From a new process, although the dead one is still held.
  auto again = hold("a:latest");
  EXPECT_EQ(answer(*again, 40), text);
  for (const LoadedRow& row : models_->rows()) {
    EXPECT_NE(row.pid, pid);
  }
  other->model().credit(slow, 1000);
  EXPECT_EQ(neighbour.end(), Event::Kind::done);
  EXPECT_EQ(neighbour.text(), text);
  // Who holds the dead one hears it at once.
  Reader late;
  mine->model().submit(greedy(4), late.sink());
  EXPECT_EQ(late.end(), Event::Kind::error);
}

TEST_F(ModelsTest, KeepsModelsAsLongAsAsked) {
  ModelsOptions made = options();
  start(std::move(made));
  ModelWish none;
  none.keep_for = KeepFor{.forever = false, .time = 0ns};
  hold("a:latest", none).reset();
  EXPECT_TRUE(logged("a:latest: unloaded"));
  EXPECT_TRUE(names().empty());
  // What is in use stays, whatever was said.
  auto used = hold("b:latest", none);
  EXPECT_EQ(names(), std::vector<std::string>{"b:latest"});
  EXPECT_TRUE(models_->unload("b:latest"));
  EXPECT_EQ(models_->rows().front().state, "stopping");
  EXPECT_FALSE(answer(*used).empty());
  used.reset();
  EXPECT_TRUE(logged("b:latest: unloaded"));
  ModelWish forever;
  forever.keep_for = KeepFor{.forever = true, .time = 0ns};
  hold("c:latest", forever).reset();
  EXPECT_TRUE(models_->rows().front().forever);
  EXPECT_FALSE(models_->unload("nobody"));
  EXPECT_TRUE(models_->unload("c:latest"));
  EXPECT_TRUE(names().empty());
  ModelWish brief;
  brief.keep_for = KeepFor{.forever = false, .time = 10ms};
  hold("d:latest", brief).reset();
  EXPECT_TRUE(logged("d:latest: unloaded"));
}

TEST_F(ModelsTest, MakesRoomWithTheIdleModelThatHasLeastTimeLeft) {
  ModelsOptions made = options();
  made.max_loaded = 2;
  start(std::move(made));
  ModelWish brief;
  brief.keep_for = KeepFor{.forever = false, .time = 1min};
  hold("a:latest").reset();
  hold("b:latest", brief).reset();
  auto c = hold("c:latest");
  EXPECT_EQ(names(), (std::vector<std::string>{"a:latest", "c:latest"}));
  auto a = hold("a:latest");
  // Both are in use: the next one waits for its turn.
  Waiting waiting;
  models_->acquire(source_of("d:latest"), {}, waiting.on_hold());
  EXPECT_EQ(names(), (std::vector<std::string>{"a:latest", "c:latest"}));
  EXPECT_FALSE(waiting.has());
  c.reset();
  ASSERT_TRUE(waiting.get());
  EXPECT_EQ(names(), (std::vector<std::string>{"a:latest", "d:latest"}));
}

TEST_F(ModelsTest, MakesRoomWhenMemoryIsShort) {
  ModelsOptions made = options();
  made.memory_limit = 400u << 20;  // 256 MiB are left free, each model counts for 64 MiB at least
  start(std::move(made));
  hold("a:latest").reset();
  hold("b:latest").reset();
  EXPECT_EQ(names().size(), 2u);
  hold("c:latest").reset();
  EXPECT_EQ(names(), (std::vector<std::string>{"b:latest", "c:latest"}));
}

TEST_F(ModelsTest, BoundsItsQueue) {
  ModelsOptions made = options();
  made.max_queue = 2;
  made.session.n_parallel = 1;
  start(std::move(made));
  auto held = hold("a:latest");
  Waiting one, two, three;
  const Ticket first = models_->acquire(source_of("a:latest"), {}, one.on_hold());
  models_->acquire(source_of("a:latest"), {}, two.on_hold());
  EXPECT_EQ(models_->rows().front().waiting, 2u);
  models_->acquire(source_of("a:latest"), {}, three.on_hold());
  auto refused = three.get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::busy);
  models_->abandon(first);
  EXPECT_EQ(models_->rows().front().waiting, 1u);
  held.reset();
  EXPECT_TRUE(two.get());
  EXPECT_FALSE(one.has());
}

TEST_F(ModelsTest, SaysWhyAModelCanNotBeLoaded) {
  start(options());
  auto broken = std::make_shared<ModelSource>();
  broken->name = "broken:latest";
  broken->files.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  broken->labels = {"broken:latest"};
  Waiting waiting;
  models_->acquire(broken, {}, waiting.on_hold());
  auto got = waiting.get();
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().subject, "broken:latest");
  EXPECT_TRUE(names().empty());
}

TEST(Runner, LeavesNoOrphanBehindAServerThatIsKilled) {
  const auto model = test::golden_data() / "arch" / "llama-gqa.gguf";
  const std::string command =
      fmt::format("'{}' --spawn-and-die '{}'",
                  std::filesystem::read_symlink("/proc/self/exe").string(), model.string());
  FILE* server = ::popen(command.c_str(), "r");
  ASSERT_NE(server, nullptr);
  int pid = 0;
  ASSERT_EQ(std::fscanf(server, "%d", &pid), 1);
  const int handle = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (handle >= 0) {  // else it is gone already
    pollfd gone{handle, POLLIN, 0};
    EXPECT_EQ(::poll(&gone, 1, 60'000), 1);
    ::close(handle);
  }
  ::pclose(server);
}

}  // namespace LM_FILE
}  // namespace lm::server
