#include "tests/crash/commands.h"

#include <stdexcept>

#include <fmt/format.h>
#include <sqlite3.h>

#include "tests/support/gguf_writer.h"

namespace lm::crash {
namespace {

constexpr const char* kMovingRepo = "demo/moving-GGUF";

/// A step of a preparation: must succeed.
void must(const Sandbox& sandbox, const std::vector<std::string>& words) {
  const test::Finished done = run_lm(sandbox, words);
  if (done.exit_code != 0) {
    throw std::runtime_error(
        fmt::format("lm {}: exit {}: {}", words.front(), done.exit_code, done.err));
  }
}

void fill_hub() {
  hub().add_file("demo/one-GGUF", "one-Q8_0.gguf", small_gguf(1));
  hub().add_file("demo/one-GGUF", "LICENSE", "Do what you like.\n");
  for (unsigned i = 0; i < 3; ++i) {
    hub().add_file("demo/split-GGUF", fmt::format("split-Q8_0-{:05}-of-00003.gguf", i + 1),
                   small_gguf(10 + i, i, 3));
  }
}

std::string modelfile(const Sandbox& sandbox, const std::string& name) {
  return (sandbox.src() / name).native();
}

std::vector<std::string> create_new(const Sandbox& sandbox) {
  return {"create", "new:1", "-f", modelfile(sandbox, "New")};
}

/// Runs a command and kills it after this part of its calls.
void break_off(const Sandbox& sandbox,
               const std::function<std::vector<std::string>(const Sandbox&)>& words, double part) {
  const Sandbox trial(sandbox);
  const auto calls = static_cast<double>(run_lm(trial, words(trial), {}).calls);
  const Outcome broken =
      run_lm(sandbox, words(sandbox),
             {.fault = Fault::kill, .at = static_cast<std::uint64_t>(part * calls)});
  if (!broken.killed()) {
    throw std::runtime_error("the command was not killed: " + broken.process.err);
  }
}

/// A pull that was killed half-way left its partial.
void break_pull(Sandbox& sandbox) {
  break_off(
      sandbox, [](const Sandbox&) { return std::vector<std::string>{"pull", kSplitModel}; }, 0.5);
}

/// A create that was killed before its manifest was written left a blob without a name.
void break_create(Sandbox& sandbox) {
  break_off(sandbox, create_new, 0.7);
}

void run_sql(const fs::path& database, const std::string& sql) {
  sqlite3* handle = nullptr;
  char* message = nullptr;
  const bool done = sqlite3_open(database.c_str(), &handle) == SQLITE_OK &&
                    sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &message) == SQLITE_OK;
  const std::string problem = message != nullptr ? message : "";
  sqlite3_free(message);
  sqlite3_close(handle);
  if (!done) {
    throw std::runtime_error("sqlite: " + problem);
  }
}

void remove_index(const Sandbox& sandbox) {
  for (const char* suffix : {"", "-wal", "-shm"}) {
    fs::remove(sandbox.store() / (std::string("index.db") + suffix));
  }
}

Command fixed(std::string name, std::vector<std::string> words,
              std::function<void(Sandbox&)> prepare = {}, bool settle = true) {
  return {.name = std::move(name),
          .words = [words = std::move(words)](const Sandbox&) { return words; },
          .prepare = std::move(prepare),
          .settle = settle};
}

std::vector<Command> make_commands() {
  std::vector<Command> all;
  all.push_back(fixed("pull", {"pull", kSplitModel}));
  all.push_back(fixed("pull_resumed", {"pull", kSplitModel}, break_pull));
  all.push_back(fixed("pull_newer", {"pull", "hf.co/demo/moving-GGUF"}, [](Sandbox& sandbox) {
    hub().add_file(kMovingRepo, "moving-Q8_0.gguf", small_gguf(20));
    must(sandbox, {"pull", "hf.co/demo/moving-GGUF"});
    hub().add_file(kMovingRepo, "moving-Q8_0.gguf", small_gguf(21));
  }));
  all.push_back(fixed("cp", {"cp", "base:1", "copied:1"}));
  all.push_back(fixed("cp_over", {"cp", kPulledModel, "other:1"}));
  all.push_back({.name = "create", .words = create_new});
  all.push_back({.name = "create_over", .words = [](const Sandbox& sandbox) {
                   return std::vector<std::string>{"create", kPulledModel, "-f",
                                                   modelfile(sandbox, "Derived")};
                 }});
  all.push_back({.name = "create_first",
                 .words = create_new,
                 .prepare = [](Sandbox& sandbox) { fs::remove_all(sandbox.store()); },
                 .settle = false});
  all.push_back(fixed("rm", {"rm", "-f", kPulledModel}));
  all.push_back(fixed("rm_partial", {"rm", "-f", kSplitModel}, break_pull));
  all.push_back(fixed("prune", {"prune", "--all"}, [](Sandbox& sandbox) {
    break_pull(sandbox);
    break_create(sandbox);
    write_file(sandbox.store() / "tmp" / "left", "of a crash");
    write_file(sandbox.store() / "index.db.corrupt-1", "put aside");
  }));
  all.push_back(fixed("list_rebuilt", {"list"}, remove_index, false));
  // Every schema that was ever released.
  for (const auto& entry : fs::directory_iterator(LM_SOURCE_DIR "/tests/store")) {
    const std::string stem = entry.path().stem().native();
    if (stem.starts_with("schema_v")) {
      all.push_back(fixed(
          "migrate_" + stem.substr(7), {"list"},
          [path = entry.path()](Sandbox& sandbox) {
            remove_index(sandbox);
            run_sql(sandbox.store() / "index.db", read_file(path));
          },
          false));
    }
  }
  return all;
}

}  // namespace

std::string small_gguf(std::uint64_t seed, unsigned number, unsigned count) {
  test::GgufWriter writer;
  if (number == 0) {
    writer.add_string("general.architecture", "llama").add_u32("llama.block_count", 1);
  }
  if (count > 1) {
    writer.add("split.no", static_cast<std::uint16_t>(number))
        .add("split.count", static_cast<std::uint16_t>(count))
        .add("split.tensors.count", static_cast<std::int32_t>(count));
  }
  writer.add_random(fmt::format("blk.{}.weight", number), DType::q8_0, {32, 1000}, seed);
  const test::ByteVector bytes = writer.build();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const std::vector<Command>& commands() {
  static const std::vector<Command> all = make_commands();
  return all;
}

const Sandbox& base_sandbox() {
  static const Sandbox sandbox;
  static const bool done = [] {
    fill_hub();
    write_file(sandbox.src() / "base.gguf", small_gguf(2));
    write_file(sandbox.src() / "new.gguf", small_gguf(3));
    write_file(sandbox.src() / "Base", "FROM ./base.gguf\n");
    write_file(sandbox.src() / "Other", "FROM base:1\nPARAMETER temperature 0.5\n");
    write_file(sandbox.src() / "New", "FROM ./new.gguf\nSYSTEM Be brief.\n");
    write_file(sandbox.src() / "Derived", "FROM base:1\nPARAMETER top_k 7\n");
    must(sandbox, {"create", "base:1", "-f", modelfile(sandbox, "Base")});
    must(sandbox, {"create", "other:1", "-f", modelfile(sandbox, "Other")});
    must(sandbox, {"pull", kPulledModel});
    return true;
  }();
  static_cast<void>(done);
  return sandbox;
}

}  // namespace lm::crash
