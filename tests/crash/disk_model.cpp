#include "tests/crash/disk_model.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>
#include <stdexcept>
#include <utility>

#include <sys/stat.h>

namespace lm::crash {
namespace {

namespace fs = std::filesystem;

struct stat state_of(const fs::path& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) {
    throw std::runtime_error("lstat " + path.native() + ": " + std::strerror(errno));
  }
  return st;
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void apply_to(std::string& data, std::uint32_t& mode, const Event& event) {
  const auto offset = static_cast<std::size_t>(event.header.offset);
  switch (event.header.kind) {
    case EventKind::write:
      data.resize(std::max(data.size(), offset + event.data.size()));
      data.replace(offset, event.data.size(), event.data);
      break;
    case EventKind::truncate:
      data.resize(offset);
      break;
    case EventKind::allocate:
      data.resize(std::max(data.size(), offset));
      break;
    case EventKind::mode:
      mode = static_cast<std::uint32_t>(event.header.offset);
      break;
    default:
      break;
  }
}

}  // namespace

std::vector<Event> read_events(const fs::path& log) {
  const std::string bytes = bytes_of(log);
  std::vector<Event> events;
  std::size_t at = 0;
  const auto take = [&](std::size_t n) {
    if (n > bytes.size() - at) {
      throw std::runtime_error("the event log ends inside a record");
    }
    const std::string part = bytes.substr(at, n);
    at += n;
    return part;
  };
  while (at < bytes.size()) {
    Event event;
    const std::string header = take(sizeof event.header);
    std::memcpy(&event.header, header.data(), sizeof event.header);
    event.name = take(event.header.name_size);
    event.name2 = take(event.header.name2_size);
    event.data = take(static_cast<std::size_t>(event.header.data_size));
    events.push_back(std::move(event));
  }
  return events;
}

DiskModel::DiskModel(const fs::path& root) {
  read_tree(root);
}

DiskModel::NodeId DiskModel::read_tree(const fs::path& path) {
  const struct stat st = state_of(path);
  if (const auto known = inodes_.find(st.st_ino); known != inodes_.end()) {
    return known->second;  // another name of the same file
  }
  const NodeId id = nodes_.size();
  nodes_.push_back({.is_folder = S_ISDIR(st.st_mode),
                    .mode = st.st_mode & 07777u,
                    .data = {},
                    .pending = {},
                    .entries = {},
                    .current = {}});
  inodes_[st.st_ino] = id;
  if (!S_ISDIR(st.st_mode)) {
    nodes_[id].data = bytes_of(path);
    return id;
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    const NodeId child = read_tree(entry.path());
    nodes_[id].entries[entry.path().filename()] = child;
  }
  nodes_[id].current = nodes_[id].entries;
  return id;
}

DiskModel::NodeId DiskModel::node_of(std::uint64_t inode) const {
  const auto found = inodes_.find(inode);
  if (found == inodes_.end()) {
    throw std::runtime_error("the event log names inode " + std::to_string(inode) +
                             ", which nothing created");
  }
  return found->second;
}

void DiskModel::apply(const Event& event) {
  const EventHeader& header = event.header;
  switch (header.kind) {
    case EventKind::create:
    case EventKind::make_folder: {
      const NodeId id = nodes_.size();
      nodes_.push_back({.is_folder = header.kind == EventKind::make_folder,
                        .mode = header.kind == EventKind::make_folder ? 0755u : 0644u,
                        .data = {},
                        .pending = {},
                        .entries = {},
                        .current = {}});
      inodes_[header.inode] = id;
      change_names(
          {.folder2 = node_of(header.folder), .name2 = event.name, .node = id, .adds = true});
      break;
    }
    case EventKind::write:
    case EventKind::truncate:
    case EventKind::allocate:
    case EventKind::mode:
      nodes_[node_of(header.inode)].pending.push_back(event);
      break;
    case EventKind::sync: {
      const NodeId id = node_of(header.inode);
      Node& node = nodes_[id];
      for (const Event& pending : node.pending) {
        apply_to(node.data, node.mode, pending);
      }
      node.pending.clear();
      if (node.is_folder) {
        sync_folder(id);
      }
      break;
    }
    case EventKind::rename: {
      const NodeId from = node_of(header.folder);
      change_names({.folder = from,
                    .name = event.name,
                    .folder2 = node_of(header.folder2),
                    .name2 = event.name2,
                    .node = nodes_[from].current.at(event.name),
                    .removes = true,
                    .adds = true});
      break;
    }
    case EventKind::link:
      change_names({.folder2 = node_of(header.folder2),
                    .name2 = event.name2,
                    .node = node_of(header.inode),
                    .adds = true});
      break;
    case EventKind::unlink:
    case EventKind::remove_folder:
      change_names({.folder = node_of(header.folder), .name = event.name, .removes = true});
      break;
  }
}

void DiskModel::change_names(NameChange change) {
  if (change.removes) {
    nodes_[change.folder].current.erase(change.name);
  }
  if (change.adds) {
    nodes_[change.folder2].current[change.name2] = change.node;
  }
  names_.push_back(std::move(change));
}

void DiskModel::add_predecessors(std::vector<bool>& chosen) const {
  std::set<std::pair<NodeId, std::string>> held;
  for (std::size_t i = names_.size(); i-- > 0;) {
    const NameChange& change = names_[i];
    const std::pair from{change.folder, change.name};
    const std::pair to{change.folder2, change.name2};
    if (!chosen[i] &&
        !((change.removes && held.contains(from)) || (change.adds && held.contains(to)))) {
      continue;
    }
    chosen[i] = true;
    if (change.removes) {
      held.insert(from);
    }
    if (change.adds) {
      held.insert(to);
    }
  }
}

void DiskModel::sync_folder(NodeId folder) {
  std::vector<bool> chosen;
  for (const NameChange& change : names_) {
    chosen.push_back(change.touches(folder));
  }
  add_predecessors(chosen);
  std::vector<NameChange> left;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    NameChange& change = names_[i];
    if (!chosen[i]) {
      left.push_back(std::move(change));
      continue;
    }
    if (change.removes) {
      nodes_[change.folder].entries.erase(change.name);
    }
    if (change.adds) {
      nodes_[change.folder2].entries[change.name2] = change.node;
    }
  }
  names_ = std::move(left);
}

std::string DiskModel::data_after(const Node& node, Cut cut, std::mt19937_64& random,
                                  std::uint32_t& mode) const {
  std::string data = node.data;
  mode = node.mode;
  if (cut.kind == Cut::Kind::drop) {
    return data;
  }
  for (const Event& event : node.pending) {
    Event spoilt = event;
    if (cut.kind == Cut::Kind::random) {
      switch (random() % 6) {
        case 0:
        case 1:
          continue;  // dropped
        case 2:
          spoilt.data.resize(static_cast<std::size_t>(random() % (event.data.size() + 1)));
          break;
        case 3:
          spoilt.data.assign(event.data.size(), '\0');
          break;
        default:
          break;
      }
    }
    apply_to(data, mode, spoilt);
  }
  return data;
}

void DiskModel::write_image(const fs::path& to, Cut cut) const {
  std::mt19937_64 random(cut.seed);
  std::vector<bool> chosen(names_.size(), cut.kind == Cut::Kind::keep);
  if (cut.kind == Cut::Kind::random) {
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      chosen[i] = random() % 2 == 0;
    }
    add_predecessors(chosen);
  }
  std::map<NodeId, Entries> entries;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    if (nodes_[id].is_folder) {
      entries[id] = nodes_[id].entries;
    }
  }
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (!chosen[i]) {
      continue;
    }
    if (names_[i].removes) {
      entries[names_[i].folder].erase(names_[i].name);
    }
    if (names_[i].adds) {
      entries[names_[i].folder2][names_[i].name2] = names_[i].node;
    }
  }
  std::map<NodeId, fs::path> written;
  const std::function<void(NodeId, const fs::path&)> write = [&](NodeId id, const fs::path& path) {
    const Node& node = nodes_[id];
    if (node.is_folder) {
      fs::create_directory(path);
      for (const auto& [name, child] : entries[id]) {
        write(child, path / name);
      }
      return;
    }
    if (const auto known = written.find(id); known != written.end()) {
      fs::create_hard_link(known->second, path);
      return;
    }
    written[id] = path;
    std::uint32_t mode = 0;
    const std::string data = data_after(node, cut, random, mode);
    std::ofstream(path, std::ios::binary) << data;
    fs::permissions(path, static_cast<fs::perms>(mode));
  };
  write(0, to);
}

}  // namespace lm::crash
