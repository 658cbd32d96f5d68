// What the machine gives: memory, cores, instruction sets.
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "backends/cpu/cores.h"
#include "backends/cpu/cpu_backend.h"
#include "backends/host_memory.h"

namespace lm {
namespace LM_FILE {

namespace fs = std::filesystem;

/// A /proc and a /sys/fs/cgroup of our own.
class FakeHost : public ::testing::Test {
 protected:
  FakeHost() : root_(fs::temp_directory_path() / fmt::format("lm-host-{}", getpid())) {
    fs::remove_all(root_);
  }
  ~FakeHost() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void meminfo() const {
    write(
        "proc/meminfo",
        "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n");
  }
  HostMemory memory() const { return host_memory(root_ / "proc", root_ / "cgroup"); }
  std::optional<double> quota() const { return cgroup_cpu_quota(root_ / "proc", root_ / "cgroup"); }

  fs::path root_;
};

TEST_F(FakeHost, ReadsTotalAndAvailableMemory) {
  meminfo();
  EXPECT_EQ(memory().total_bytes, 16000000ull * 1024);
  EXPECT_EQ(memory().free_bytes, 8000000ull * 1024);
  EXPECT_EQ(memory().source, "MemAvailable");
}

TEST_F(FakeHost, CapsMemoryByTheTightestGroupOfVersion2) {
  meminfo();
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("cgroup/outer/memory.max", "3000000000\n");
  write("cgroup/outer/memory.current", "1000000000\n");
  write("cgroup/outer/memory.stat", "anon 500000000\ninactive_file 400000000\n");
  write("cgroup/outer/inner/memory.max", "max\n");
  write("cgroup/outer/inner/memory.current", "900000000\n");
  EXPECT_EQ(memory().total_bytes, 3000000000u);
  EXPECT_EQ(memory().free_bytes, 2400000000u);  // dropped file pages count as free
  EXPECT_EQ(memory().source, "MemAvailable, cgroup limit");
}

TEST_F(FakeHost, CapsMemoryByAGroupOfVersion1) {
  meminfo();
  write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n");
  write("cgroup/memory/a/memory.limit_in_bytes", "2000000000\n");
  write("cgroup/memory/a/memory.usage_in_bytes", "2500000000\n");
  EXPECT_EQ(memory().free_bytes, 0u);  // over its limit: nothing, not a wrapped number
  EXPECT_EQ(memory().total_bytes, 2000000000u);
}

TEST_F(FakeHost, FindsTheLimitOfAContainerAtTheMountsRoot) {
  meminfo();
  write("proc/self/cgroup", "0::/../../not/here\n");
  write("cgroup/memory.max", "1000000000\n");
  write("cgroup/memory.current", "250000000\n");
  EXPECT_EQ(memory().free_bytes, 750000000u);
}

TEST_F(FakeHost, GivesZerosWithoutMeminfoAndIgnoresGarbage) {
  EXPECT_EQ(memory().total_bytes, 0u);
  write("proc/meminfo", "MemTotal: lots\nMemAvailable:\n");
  write("proc/self/cgroup", "nonsense\n::::\n0::/x\n");
  write("cgroup/x/memory.max", "99999999999999999999999999\n");
  write("cgroup/x/memory.current", "-3\n");
  EXPECT_EQ(memory().total_bytes, 0u);
  EXPECT_EQ(memory().free_bytes, 0u);
  EXPECT_FALSE(quota());
}

TEST_F(FakeHost, ReadsTheCpuQuotaOfBothVersions) {
  EXPECT_FALSE(quota());
  write("proc/self/cgroup", "0::/a/b\n");
  write("cgroup/a/cpu.max", "max 100000\n");
  EXPECT_FALSE(quota());
  write("cgroup/a/b/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 2.5);
  write("cgroup/a/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1.0);

  write("proc/self/cgroup", "3:cpu,cpuacct:/v1\n");
  write("cgroup/cpu/v1/cpu.cfs_quota_us", "-1\n");
  write("cgroup/cpu/v1/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(quota());
  write("cgroup/cpu/v1/cpu.cfs_quota_us", "50000\n");
  EXPECT_EQ(quota(), 0.5);
}

TEST_F(FakeHost, CountsSiblingsAsOneCore) {
  for (const unsigned cpu : {0u, 1u, 2u, 3u}) {
    write(fmt::format("sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu),
          fmt::format("{},{}\n", cpu % 2, cpu % 2 + 2));
  }
  const unsigned all[] = {0, 1, 2, 3};
  const unsigned one[] = {1, 3};
  const unsigned unknown[] = {0, 2, 7, 8};
  EXPECT_EQ(physical_cores(all, root_ / "sys"), 2u);
  EXPECT_EQ(physical_cores(one, root_ / "sys"), 1u);
  EXPECT_EQ(physical_cores(unknown, root_ / "sys"), 3u);
  EXPECT_EQ(physical_cores({}, root_ / "sys"), 0u);
}

TEST(DefaultThreadCount, IsWithinThisMachine) {
  EXPECT_GE(default_thread_count(), 1u);
  EXPECT_LE(default_thread_count(), static_cast<unsigned>(sysconf(_SC_NPROCESSORS_CONF)));
}

TEST(Isa, NamesParseBackAndLevelsWithoutKernelsMapBelow) {
  for (const Isa isa : isa_levels()) {
    EXPECT_EQ(parse_isa(isa_name(isa)), isa);
  }
  const bool arm = isa_levels().back() == Isa::i8mm;
  const bool x86 = isa_levels().back() == Isa::avx512vnni;
  EXPECT_EQ(parse_isa("avxvnni"), x86 ? Isa::avxvnni : Isa::baseline);
  EXPECT_EQ(parse_isa("amx"), x86 ? Isa::avx512vnni : Isa::baseline);
  EXPECT_EQ(parse_isa("neon"), arm ? Isa::neon : Isa::baseline);
  EXPECT_EQ(parse_isa("i8mm"), arm ? Isa::i8mm : Isa::baseline);
  EXPECT_FALSE(parse_isa("AVX2"));
  EXPECT_FALSE(parse_isa(""));
}

TEST(Isa, AgreesWithWhatTheKernelListsForThisMachine) {
#if defined(__x86_64__)
  constexpr bool kX86 = true;
#else
  constexpr bool kX86 = false;
#endif
  std::ifstream file("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(file, line) && flags.empty();) {
    if (line.starts_with(kX86 ? "flags" : "Features")) {
      flags = line + " ";
    }
  }
  if (flags.empty()) {
    GTEST_SKIP() << "no flags in /proc/cpuinfo";
  }
  const auto has = [&](const char* flag) { return flags.contains(fmt::format(" {} ", flag)); };
  if (!kX86) {
    const bool dot = has("asimddp");
    EXPECT_EQ(detect_isa(), dot && has("i8mm") ? Isa::i8mm : dot ? Isa::dotprod : Isa::neon);
    return;
  }
  const bool avx2 = has("avx2") && has("fma") && has("f16c") && has("bmi1") && has("bmi2");
  const bool avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512dq") &&
                      has("avx512vl") && has("avx512cd");
  const Isa expected = avx512 && has("avx512_vnni") ? Isa::avx512vnni
                       : avx512                     ? Isa::avx512
                       : avx2 && has("avx_vnni")    ? Isa::avxvnni
                       : avx2                       ? Isa::avx2
                                                    : Isa::baseline;
  EXPECT_EQ(detect_isa(), expected);
  EXPECT_EQ(has_avxvnni(), avx2 && has("avx_vnni"));
}

}  // namespace LM_FILE
}  // namespace lm
