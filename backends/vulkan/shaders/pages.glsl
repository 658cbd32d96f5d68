// KV pages: addresses, and values in the cache's types. Tiles are plain rows [32][head_dim].
const uint kKvF32 = 0, kKvF16 = 1, kKvBf16 = 2, kKvQ8_0 = 3, kKvQ4_0 = 4;

// Address of a page of group `group`.
uint64_t page_address(uint group, uint page, uint64_t page_bytes) {
  const uint per_slab = U32(step.slab_pages).at[group];
  const uint slab = U32(step.slab_begin).at[group] + page / per_slab;
  return U64(step.slab).at[slab] + uint64_t(page % per_slab) * page_bytes;
}

uint page_of(uint group, uint seq, uint index) {
  return U32(step.page_table).at[U32(step.page_begin).at[group * step.n_seq + seq] + index];
}

// Value i of a row in the cache.
float kv_value(uint kv_type, uint64_t row, uint i) {
  switch (kv_type) {
    case kKvF32:
      return F32(row).at[i];
    case kKvF16:
      return half_to_float(uint(U16(row).at[i]));
    case kKvBf16:
      return bf16_to_float(uint(U16(row).at[i]));
    case kKvQ8_0: {
      const uint64_t block = row + uint64_t(i / 32 * 34);
      const int q = int(uint(U8(block + 2 + i % 32).at[0]) << 24) >> 24;
      return half_to_float(uint(U16(block).at[0])) * float(q);
    }
    default: {
      const uint64_t block = row + uint64_t(i / 32 * 18);
      const uint byte = uint(U8(block + 2 + i % 16).at[0]);
      return half_to_float(uint(U16(block).at[0])) * (float(byte >> 4 * (i % 32 / 16) & 15u) - 8.0);
    }
  }
}
