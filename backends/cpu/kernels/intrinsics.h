/// The compiler's vector intrinsics, for files compiled for AVX2 or AVX-512.
#pragma once

// g++ 12 warns falsely about the undefined vectors inside its own AVX-512 header (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
