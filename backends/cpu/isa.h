/// Which kernels this machine can run.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lm {

/// Levels in rising order; each includes those below it on the same architecture, but for avxvnni,
/// which only its own level has. Only levels of
/// one architecture (`isa_levels`) are ever compared.
enum class Isa : std::uint8_t {
  baseline,
  // x86-64
  avx2,
  avxvnni,  ///< 256-bit VNNI without AVX-512
  avx512,
  avx512vnni,
  // 64-bit ARM
  neon,
  dotprod,
  i8mm,
};

/// The levels of the architecture that this program is built for, the lowest first, whether this
/// machine has them or not.
std::span<const Isa> isa_levels();
/// The best level that the CPU and the operating system support.
Isa detect_isa();
/// Whether the CPU has AVX-VNNI, whatever its level. Level avxvnni without it is avx2.
bool has_avxvnni();
/// Whether this machine has all that `isa` stands for.
inline bool has_isa(Isa isa) {
  return isa <= detect_isa() && (isa != Isa::avxvnni || has_avxvnni());
}
std::string_view isa_name(Isa isa);
/// Parses a name of LM_CPU_ISA; names of levels that have no kernels of their own yet map to the
/// one below, those of other architectures to the lowest.
std::optional<Isa> parse_isa(std::string_view name);

/// The processor as its vendor calls it, or the architecture's name.
std::string cpu_name();

}  // namespace lm
