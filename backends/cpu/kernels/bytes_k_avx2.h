/// The types of unpack_bytes.h in the two forms of the AVX2 kernels: panels of eight rows, and dots
/// of a row's blocks. Internal linkage, for files compiled for AVX2 only.
#pragma once

#include "backends/cpu/kernels/decode_k_avx2.h"
#include "backends/cpu/kernels/unpack_bytes.h"

namespace lm::cpu {
namespace {

/// Eight rows by 256 values with a scale per 16: w = scale * q.
struct alignas(32) PanelBytes {
  std::int8_t q[64][kLanes][4];
  float scale[16][kLanes];
};

/// A type of unpack_bytes.h as the tiles take it.
template <class Bytes>
struct Unpacked {
  static constexpr std::size_t kBytes = Bytes::kBytes;
  using Panel = PanelBytes;

  static void unpack(const PanelRows& rows, std::size_t offset, Panel& out) {
    ByteBlock blocks[kLanes];
    alignas(32) float scales[kLanes][16];
    PanelRows quants = rows;
    PanelRows scale_rows = rows;
    const Codebooks& books = codebooks();
    for (std::uint32_t r = 0; r < kLanes; ++r) {
      Bytes::unpack(books, rows.row[r] + offset, blocks[r]);
      quants.row[r] = reinterpret_cast<const std::uint8_t*>(blocks[r].q);
      scale_rows.row[r] = reinterpret_cast<const std::uint8_t*>(scales[r]);
      const __m256 d = _mm256_set1_ps(_cvtsh_ss(blocks[r].d) * Bytes::kFactor);
      for (int h = 0; h < 16; h += 8) {
        const __m256i scale = _mm256_cvtepi16_epi32(load128(blocks[r].scale + h));
        _mm256_store_ps(scales[r] + h, _mm256_mul_ps(d, _mm256_cvtepi32_ps(scale)));
      }
    }
    for (unsigned i = 0; i < 4; ++i) {
      const Dwords4 v = load_transposed(scale_rows, 16 * i);
      for (unsigned c = 0; c < 4; ++c) {
        store256(out.scale[4 * i + c], v.dword[c]);
      }
    }
    for (unsigned i = 0; i < 16; ++i) {
      const Dwords4 v = load_transposed(quants, 16 * i);
      for (unsigned c = 0; c < 4; ++c) {
        store256(out.q[4 * i + c], v.dword[c]);
      }
    }
  }
};

template <class Bytes>
struct ByteDot {
  const ActRow256* act;
  std::uint32_t n_blocks;

  template <int kStreams, int kRows>
  void run(const std::uint8_t* const* row, float (*out)[kRows]) const {
    __m256 acc[kStreams];
#pragma GCC unroll 8
    for (int s = 0; s < kStreams; ++s) {
      acc[s] = _mm256_setzero_ps();
    }
    const Codebooks& books = codebooks();
    for (std::uint32_t b = 0; b < n_blocks; ++b) {
      const ActRow256& a = act[b];
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
        const __m256i scales = even_odd_groups(load256(block.scale));
        __m256i sum = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int j = 0; j < 8; ++j) {
          const __m256i v = load256(block.q + 32 * j);
          const __m256i x = load256(a.q + 32 * j);
          const __m256i dots = _mm256_maddubs_epi16(_mm256_abs_epi8(v), _mm256_sign_epi8(x, v));
          const __m256i pick = _mm256_set1_epi16(static_cast<short>(0x0100 + 0x0202 * j));
          sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots, _mm256_shuffle_epi8(scales, pick)));
        }
        const float d = _cvtsh_ss(block.d) * Bytes::kFactor * a.d;
        acc[s] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(d), acc[s]);
      }
    }
    for (int s = 0; s < kStreams; ++s) {
      out[s][0] = sum_lanes(acc[s]);
    }
  }
};

}  // namespace
}  // namespace lm::cpu
