/// Model names: the grammar, in one type.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "registry/error.h"

namespace lm::registry {

/// A model's name, parsed and checked.
///
/// * name: [ host "/" ] [ namespace "/" ] model [ ":" tag ], optionally after http://, https://,
///   hf:// or oci://
/// * host: (alnum|"_") (alnum|"-"|"_"|"."|":")*, 1..350 bytes
/// * namespace: (alnum|"_") (alnum|"-"|"_")*, 1..80 bytes; on hf.co also "." and up to 96 bytes
/// * model: (alnum|"_") (alnum|"-"|"_"|".")*, 1..80 bytes; on hf.co up to 96
/// * tag: as model, 1..80 bytes
///
/// ASCII only. The tag follows the last ':' only if that is right of the last '/'. '@' is in no
/// part: a revision is given by --revision. Comparison ignores case; the spelling first stored is
/// shown.
struct ModelRef {
  std::string host;   ///< empty: known here (default host)
  std::string owner;  ///< the namespace; empty: default
  std::string model;
  std::string tag;  ///< empty when none was given
  /// Set for an http(s) address whose path ends in .gguf, fetched as it is; `model` is then the
  /// file's name without .gguf, `host` and `owner` are empty: the model is known here by its file's
  /// name.
  std::string url;
  bool by_registry = false;  ///< "oci://" stood before it: by the registry protocol, on hf.co too
  bool plain_http = false;   ///< "http://" stood before it

  /// Errors: invalid_name, naming the part that is wrong.
  static Result<ModelRef> parse(std::string_view text);

  bool is_hub() const { return host == "hf.co"; }  ///< huggingface.co is normalised to hf.co
  /// Its host speaks the registry protocol (oci_client.h): every host but the hub, and that too
  /// when oci:// says so.
  bool is_registry() const { return url.empty() && !host.empty() && (!is_hub() || by_registry); }
  std::string tag_or_default() const { return tag.empty() ? "latest" : tag; }
  /// Shortest form, always with the tag: "llama3.1:8b", "hf.co/user/repo:Q4_K_M".
  std::string shortest() const;
  /// "user/repo" for the hub.
  std::string repo() const { return owner + "/" + model; }
  /// The hub's name for "user/repo" written without a host; everything else unchanged.
  ModelRef on_hub() const;
};

/// Checks "user/repo" by the hub's own rules: each part 1..96 bytes of [A-Za-z0-9._-], no "--" or
/// "..", no '-' or '.' at either end, not ending in ".git". Errors: invalid_name.
Result<void> check_repo_id(std::string_view repo);

/// True when an argument names a file on disk: it ends in .gguf (any case), or contains '/' and
/// exists.
bool is_local_path(std::string_view argument);

}  // namespace lm::registry
