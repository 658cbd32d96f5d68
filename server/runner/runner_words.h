/// What server and runner tell each other beside the engine's own messages, and its wire form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/dtype.h"
#include "backends/error.h"

namespace lm::server {

/// A session over weights that are loaded.
struct SessionWish {
  std::uint32_t n_ctx = 0;  ///< 0: the largest that fits
  std::uint32_t n_batch = 512;
  DType kv_type = DType::f16;
  std::uint32_t n_parallel = 0;  ///< sequences that must have n_ctx each; 0: as many as fit
  bool operator==(const SessionWish&) const = default;
};

/// What a runner loads, from descriptors that it has been given.
struct RunnerLoad {
  std::string name;                                ///< for messages
  std::vector<std::string> labels;                 ///< [descriptor]
  std::string devices = "auto";                    ///< as LM_BACKEND
  std::uint32_t n_threads = 0;                     ///< 0: its own choice
  std::string isa = {};                            ///< limit of kernels; empty: none
  std::optional<std::uint64_t> memory_limit = {};  ///< of the host, bytes
  std::optional<std::uint32_t> gpu_layers = {};    ///< none: as many as fit
  std::uint64_t gpu_overhead = 0;                  ///< bytes left free on each GPU
  SessionWish session = {};
};

struct RunnerDevice {
  std::string id;
  std::string detail;
  bool gpu = false;
  std::uint64_t weight_bytes = 0;
  bool operator==(const RunnerDevice&) const = default;
};

struct RunnerReady {
  std::uint32_t n_ctx = 0;
  std::uint32_t n_batch = 0;
  std::uint32_t parallel = 0;  ///< requests served at once
  bool embeds = false;
  std::uint32_t weight_loads = 0;  ///< how often this process has read the weights: 1
  std::uint32_t sessions = 0;      ///< made over them
  std::vector<RunnerDevice> devices;
  std::vector<std::string> notes;  ///< for people
  std::vector<std::string> plan;   ///< what went where, and why
};

struct RunnerFigures {
  std::uint64_t kv_bytes = 0;
  std::uint64_t work_bytes = 0;
  bool operator==(const RunnerFigures&) const = default;
};

std::string encode(const SessionWish& wish);
std::string encode(const RunnerLoad& load);
std::string encode(const RunnerReady& ready);
std::string encode(const RunnerFigures& figures);
std::string encode_error(const Error& error);
/// Nothing for bytes that are none of it.
std::optional<SessionWish> decode_session(std::string_view bytes);
std::optional<RunnerLoad> decode_load(std::string_view bytes);
std::optional<RunnerReady> decode_ready(std::string_view bytes);
std::optional<RunnerFigures> decode_figures(std::string_view bytes);
Error decode_error(std::string_view bytes);

}  // namespace lm::server
