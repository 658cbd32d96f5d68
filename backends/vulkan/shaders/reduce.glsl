// Sums over a workgroup of any size and any subgroup size. The result is in every invocation.
#extension GL_KHR_shader_subgroup_arithmetic : require

shared float reduce_parts[gl_WorkGroupSize.x];

float workgroup_sum(float value) {
  const float part = subgroupAdd(value);
  barrier();  // an earlier result may still be read
  if (subgroupElect()) {
    reduce_parts[gl_SubgroupID] = part;
  }
  barrier();
  float sum = 0.0;
  for (uint i = 0; i < gl_NumSubgroups; ++i) {
    sum += reduce_parts[i];
  }
  return sum;
}
