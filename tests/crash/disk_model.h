/// A disk as an event log describes it: what is safe on it, and what a power cut may still take
/// away or spoil. Strict where real file systems are kinder: the data of a file is safe after an
/// fsync of that file alone, a name after an fsync of its folder alone; only a rename is one step
/// in both folders.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/crash/event_log.h"

namespace lm::crash {

struct Event {
  EventHeader header;
  std::string name;
  std::string name2;
  std::string data;
};

std::vector<Event> read_events(const std::filesystem::path& log);

/// What becomes of what isn't safe yet.
struct Cut {
  enum class Kind {
    keep,    ///< all of it reached the disk: what a killed process leaves
    drop,    ///< none of it
    random,  ///< some: writes kept, dropped, cut short or zeroed, names kept or dropped
  };
  Kind kind = Kind::keep;
  std::uint64_t seed = 0;
};

class DiskModel {
 public:
  /// Everything below `root` as it is now, and safe.
  explicit DiskModel(const std::filesystem::path& root);

  void apply(const Event& event);
  /// Builds the tree as the power cut leaves it; `to` must not exist.
  void write_image(const std::filesystem::path& to, Cut cut) const;

 private:
  using NodeId = std::size_t;
  using Entries = std::map<std::string, NodeId>;

  struct Node {
    bool is_folder = false;
    std::uint32_t mode = 0;
    std::string data;  ///< of a file: what is safe
    std::vector<Event>
        pending;      ///< of a file: write, truncate, allocate, mode since its last fsync
    Entries entries;  ///< of a folder: what is safe
    Entries current;  ///< of a folder: what a process sees
  };

  /// A change of names that is not safe yet.
  struct NameChange {
    NodeId folder = 0;
    std::string name = {};
    NodeId folder2 = 0;
    std::string name2 = {};
    NodeId node = 0;
    bool removes = false;  ///< `name` goes
    bool adds = false;     ///< `name2` comes

    bool touches(NodeId id) const { return (removes && folder == id) || (adds && folder2 == id); }
  };

  NodeId read_tree(const std::filesystem::path& path);
  NodeId node_of(std::uint64_t inode) const;
  void change_names(NameChange change);
  void sync_folder(NodeId folder);
  /// What must hold as well because a later change of the same name does.
  void add_predecessors(std::vector<bool>& chosen) const;
  std::string data_after(const Node& node, Cut cut, std::mt19937_64& random,
                         std::uint32_t& mode) const;

  std::vector<Node> nodes_;
  std::map<std::uint64_t, NodeId> inodes_;
  std::vector<NameChange> names_;  ///< pending, in order
};

}  // namespace lm::crash
