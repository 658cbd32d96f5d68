# Rows of lm_add_kernel(name isa...), one a kernel family.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(LM_OP_ISAS baseline avx2 avx512)
else()
  set(LM_OP_ISAS baseline)
endif()
lm_add_kernel(norm ${LM_OP_ISAS})
lm_add_kernel(element ${LM_OP_ISAS})
lm_add_kernel(rope ${LM_OP_ISAS})
lm_add_kernel(attention ${LM_OP_ISAS})
lm_add_kernel(recurrent ${LM_OP_ISAS})

# matmul: the table of find_matmul names the same families.
target_sources(lm_backends PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/cpu/kernels/matmul_table.cpp
                                   ${CMAKE_CURRENT_SOURCE_DIR}/cpu/kernels/codebooks.cpp)
lm_add_kernel(matmul_quant baseline)
lm_add_kernel(matmul_float baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  lm_add_kernel(matmul_k avx2 avx512vnni)
  lm_add_kernel(matmul_32 avx2 avx512vnni)
  lm_add_kernel(matmul_float avx2 avx512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  lm_add_kernel(matmul_k neon dotprod i8mm)
  lm_add_kernel(matmul_32 neon dotprod i8mm)
  lm_add_kernel(matmul_float neon)
endif()
