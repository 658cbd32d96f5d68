// A disk's speed from a file on it: a number for every size, an error for what can't be read.
#include "runtime/gguf/read_speed.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace lm {
namespace LM_FILE {

TEST(ReadSpeed, FilesOfAnySizeGiveANumber) {
  const auto path =
      std::filesystem::temp_directory_path() / ("lm_read_speed." + std::to_string(getpid()));
  for (const std::uint64_t size : {1u, 5000u, 4u << 20, (9u << 20) + 7}) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << std::string(size, 'x');
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    const auto speed = read_speed(fd, size);
    ASSERT_TRUE(speed) << speed.error().problem;
    EXPECT_GT(*speed, 0.0) << size;
    EXPECT_EQ(read_speed(fd, 0).value_or(-1.0), 0.0);
    close(fd);
  }
  std::filesystem::remove(path);
}

TEST(ReadSpeed, WhatCannotBeReadIsAnError) {
  const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  close(fd);
  const auto speed = read_speed(fd, 100);
  ASSERT_FALSE(speed);
  EXPECT_EQ(speed.error().code, ErrorCode::io);
  EXPECT_EQ(speed.error().os_error, EBADF);
}

}  // namespace LM_FILE
}  // namespace lm
