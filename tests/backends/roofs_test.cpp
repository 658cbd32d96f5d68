// The measured limits of this machine: that every instruction set's loops run and give a number.
#include "backends/cpu/roofs.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/host_memory.h"
#include "backends/reference/reference_backend.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

TEST(Roofs, EveryInstructionSetIsMeasured) {
  for (const Isa isa : isa_levels()) {
    if (isa > detect_isa()) {
      break;
    }
    SCOPED_TRACE(isa_name(isa));
    const auto backend = make_cpu_backend({.n_threads = 2, .isa_limit = isa});
    const bool room = host_memory().free_bytes > 8ull << 30;
    const auto roofs = backend->measure_roofs();
    ASSERT_TRUE(roofs);
    EXPECT_EQ(roofs->isa, isa_name(isa));
    EXPECT_EQ(roofs->n_thread, 2u);
    EXPECT_GT(roofs->int8_ops, 0);
    EXPECT_GT(roofs->f32_flops, 0);
    if (room) {
      EXPECT_GT(roofs->read_1, 0);
      EXPECT_GT(roofs->read_8, 0);
    }
  }
  EXPECT_FALSE(make_reference_backend()->measure_roofs());
}

TEST(Roofs, TheLastCachesOfAllCoresAreAddedUp) {
  const fs::path sysfs = fs::temp_directory_path() / ("lm_roofs_test." + std::to_string(getpid()));
  fs::remove_all(sysfs);
  const auto write = [&](int cpu, int index, const char* level, const char* size,
                         const char* shared) {
    const fs::path cache = sysfs / "devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "cache" /
                           ("index" + std::to_string(index));
    fs::create_directories(cache);
    std::ofstream(cache / "level") << level << "\n";
    std::ofstream(cache / "size") << size << "\n";
    std::ofstream(cache / "shared_cpu_list") << shared << "\n";
  };
  EXPECT_EQ(cpu::last_cache_bytes(sysfs), 0u);
  for (int i = 0; i < 4; ++i) {
    write(i, 0, "1", "32K", i % 2 == 0 ? "0" : "1");
    write(i, 2, "2", "1024K", std::to_string(i).c_str());
    write(i, 3, "3", "32M", i < 2 ? "0-1" : "2-3");
  }
  EXPECT_EQ(cpu::last_cache_bytes(sysfs), 64ull << 20);
  fs::remove_all(sysfs);
}

}  // namespace LM_FILE
}  // namespace lm
