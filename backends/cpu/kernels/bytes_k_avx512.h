/// The types of unpack_bytes.h in the two forms of the AVX-512 kernels: panels of sixteen rows, and
/// dots of a row's blocks, each unpacked once for all activation rows. Internal linkage, for files
/// compiled for AVX-512 with VNNI only.
#pragma once

#include "backends/cpu/kernels/decode_k_avx512.h"
#include "backends/cpu/kernels/unpack_bytes.h"

namespace lm::cpu {
namespace {

/// Sixteen rows by 256 values with a scale per 16: w = scale * (q - 64).
struct alignas(64) PanelBytes {
  std::uint8_t q[64][kLanes][4];
  float scale[16][kLanes];
};

/// A type of unpack_bytes.h as the tiles take it.
template <class Bytes>
struct Unpacked {
  static constexpr std::size_t kBytes = Bytes::kBytes;
  using Panel = PanelBytes;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    ByteBlock blocks[kLanes];
    alignas(64) float scales[kLanes][16];
    PanelRows quants = rows;
    PanelRows scale_rows = rows;
    const Codebooks& books = codebooks();
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      Bytes::unpack(books, rows.row[r] + offset, blocks[r]);
      quants.row[r] = reinterpret_cast<const std::uint8_t*>(blocks[r].q);
      scale_rows.row[r] = reinterpret_cast<const std::uint8_t*>(scales[r]);
      const __m512 d = _mm512_set1_ps(_cvtsh_ss(blocks[r].d) * Bytes::kFactor);
      const __m512i scale = _mm512_cvtepi16_epi32(load256(blocks[r].scale));
      _mm512_store_ps(scales[r], _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale)));
    }
    for (unsigned i = 0; i < 4; ++i) {
      const Dwords4 v = load_transposed(scale_rows, 16 * i);
      for (unsigned c = 0; c < 4; ++c) {
        _mm512_store_si512(out.scale[4 * i + c], v.dword[c]);
      }
    }
    for (unsigned i = 0; i < 16; ++i) {
      const Dwords4 v = load_transposed(quants, 16 * i);
      for (unsigned c = 0; c < 4; ++c) {
        store_step(out.q[4 * i + c], _mm512_add_epi8(v.dword[c], _mm512_set1_epi8(64)));
      }
    }
  }
};

template <class Bytes>
struct ByteDot {
  const ActRow256* act;  ///< [rows, n_blocks]
  std::uint32_t n_blocks;

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m512 acc[kStreams][kRows];
    clear(acc);
    const Codebooks& books = codebooks();
    const __m512i order = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256* a = act + b;
      // All streams first: a load right behind narrower stores would wait for them.
      ByteBlock blocks[kStreams];
#pragma GCC unroll 1
      for (int s = 0; s < kStreams; ++s) {
        const std::uint8_t* bytes = row[s] + b * Bytes::kBytes;
        prefetch(bytes, kDecodeAhead);
        prefetch(bytes + 64, kDecodeAhead);
        Bytes::unpack(books, bytes, blocks[s]);
      }
#pragma GCC unroll 8
      for (int s = 0; s < kStreams; ++s) {
        const ByteBlock& block = blocks[s];
        const float d = _cvtsh_ss(block.d) * Bytes::kFactor;
        const __m256i scale16 = load256(block.scale);
        const __m512 scales = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(scale16));
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          const ActRow256& x = a[static_cast<std::size_t>(r) * n_blocks];
          // The 64 that makes quants unsigned, for all groups at once.
          const __m256i offset = _mm256_slli_epi32(_mm256_madd_epi16(scale16, load256(x.sum16)), 6);
          __m512 sum = _mm512_cvtepi32_ps(
              _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_zextsi256_si512(offset)));
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            const __m512i w = _mm512_add_epi8(load512(block.q + 64 * i), _mm512_set1_epi8(64));
            const __m512i dots =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, load512(x.q + 64 * i));
            const __m512 scale =
                _mm512_permutexvar_ps(_mm512_add_epi32(order, _mm512_set1_epi32(4 * i)), scales);
            sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), scale, sum);
          }
          acc[s][r] = _mm512_fmadd_ps(sum, _mm512_set1_ps(d * x.d), acc[s][r]);
        }
      }
    }
    add_lanes(acc, out);
  }
};

}  // namespace
}  // namespace lm::cpu
