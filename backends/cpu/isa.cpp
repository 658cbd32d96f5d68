#include "backends/cpu/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include <cstring>

namespace lm {
namespace {

#if defined(__x86_64__)

constexpr Isa kLevels[] = {Isa::baseline, Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::avx512vnni};

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // zeros above the highest leaf
  return r;
}

/// Register files that the operating system saves on a switch; without its consent the instructions
/// fault.
std::uint64_t saved_state() {
  unsigned low = 0;
  unsigned high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

constexpr bool has(unsigned word, int bit) {
  return (word >> bit & 1u) != 0;
}

Isa detect() {
  const Registers leaf1 = cpuid(1);
  const Registers leaf7 = cpuid(7);
  if (!has(leaf1.ecx, 27)) {  // OSXSAVE: xgetbv may be asked
    return Isa::baseline;
  }
  const std::uint64_t state = saved_state();
  const bool ymm = (state & 0x06) == 0x06;
  const bool zmm = (state & 0xe6) == 0xe6;  // opmask, upper halves, upper registers
  const bool avx2 = ymm && has(leaf1.ecx, 28) && has(leaf7.ebx, 5) &&
                    has(leaf1.ecx, 12) /* FMA */ && has(leaf1.ecx, 29) /* F16C */ &&
                    has(leaf7.ebx, 3) && has(leaf7.ebx, 8) /* BMI 1, 2 */;
  if (!avx2) {
    return Isa::baseline;
  }
  const bool avx512 = zmm && has(leaf7.ebx, 16) /* F */ && has(leaf7.ebx, 17) /* DQ */ &&
                      has(leaf7.ebx, 28) /* CD */ && has(leaf7.ebx, 30) /* BW */ &&
                      has(leaf7.ebx, 31) /* VL */;
  if (!avx512) {
    return has(cpuid(7, 1).eax, 4) ? Isa::avxvnni : Isa::avx2;
  }
  return has(leaf7.ecx, 11) ? Isa::avx512vnni : Isa::avx512;
}

#elif defined(__aarch64__)

constexpr Isa kLevels[] = {Isa::baseline, Isa::neon, Isa::dotprod, Isa::i8mm};

// Bits of the auxiliary vector as Linux numbers them (arch/arm64/include/uapi/asm/hwcap.h); older
// headers lack the names.
constexpr unsigned long kHwcapDotProduct = 1ul << 20;
constexpr unsigned long kHwcap2Int8Matrix = 1ul << 13;

Isa detect() {
  if ((getauxval(AT_HWCAP) & kHwcapDotProduct) == 0) {
    return Isa::neon;  // every 64-bit ARM has it
  }
  return (getauxval(AT_HWCAP2) & kHwcap2Int8Matrix) != 0 ? Isa::i8mm : Isa::dotprod;
}

#else

constexpr Isa kLevels[] = {Isa::baseline};

Isa detect() {
  return Isa::baseline;
}

#endif

}  // namespace

std::span<const Isa> isa_levels() {
  return kLevels;
}

Isa detect_isa() {
  static const Isa isa = detect();
  return isa;
}

bool has_avxvnni() {
#if defined(__x86_64__)
  static const bool has_it = detect_isa() >= Isa::avx2 && has(cpuid(7, 1).eax, 4);
  return has_it;
#else
  return false;
#endif
}

std::string_view isa_name(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avxvnni:
      return "avxvnni";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512vnni:
      return "avx512vnni";
    case Isa::neon:
      return "neon";
    case Isa::dotprod:
      return "dotprod";
    case Isa::i8mm:
      return "i8mm";
  }
  return "baseline";
}

std::string cpu_name() {
#if defined(__x86_64__)
  if (cpuid(0x80000000).eax >= 0x80000004) {
    char name[49] = {};
    for (unsigned i = 0; i < 3; ++i) {
      const Registers r = cpuid(0x80000002 + i);
      std::memcpy(name + std::size_t{16} * i, &r, sizeof r);
    }
    const std::string_view text = name;
    const auto first = text.find_first_not_of(' ');
    if (first != std::string_view::npos) {
      return std::string(text.substr(first, text.find_last_not_of(' ') - first + 1));
    }
  }
  return "x86-64";
#elif defined(__aarch64__)
  return "64-bit ARM";
#else
  return "CPU";
#endif
}

std::optional<Isa> parse_isa(std::string_view name) {
  if (name == "amx") {
    name = "avx512vnni";
  }
  for (const Isa isa : kLevels) {
    if (name == isa_name(isa)) {
      return isa;
    }
  }
  for (const Isa isa : {Isa::avx2, Isa::avxvnni, Isa::avx512, Isa::avx512vnni, Isa::neon,
                        Isa::dotprod, Isa::i8mm}) {
    if (name == isa_name(isa)) {
      return Isa::baseline;
    }
  }
  return std::nullopt;
}

}  // namespace lm
