#include "store/process.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lm::store {
namespace LM_FILE {

TEST(Process, KnowsItselfAlive) {
  const ProcessMark self = this_process();
  EXPECT_EQ(self.pid, ::getpid());
  EXPECT_GT(self.start_ticks, 0);
  EXPECT_EQ(self, this_process());
  EXPECT_TRUE(may_be_alive(self));
}

TEST(Process, TellsAReusedPidAndAnotherBootFromTheSameProcess) {
  ProcessMark other = this_process();
  other.start_ticks += 1;
  EXPECT_FALSE(may_be_alive(other));
  other = this_process();
  other.boot = "00000000-0000-0000-0000-000000000000 pid:[1]";
  EXPECT_FALSE(may_be_alive(other));
  other.boot = "";
  EXPECT_FALSE(may_be_alive(other));
  other = this_process();
  other.pid = -1;
  EXPECT_FALSE(may_be_alive(other));
}

TEST(Process, CannotSeeIntoAnotherPidNamespace) {
  ProcessMark other = this_process();
  other.boot = other.boot.substr(0, other.boot.find(' ')) + " pid:[1]";
  other.pid = 999'999'999;
  EXPECT_TRUE(may_be_alive(other));
}

TEST(Process, SeesAChildDie) {
  int gate[2];
  int answer[2];
  ASSERT_EQ(::pipe(gate), 0);
  ASSERT_EQ(::pipe(answer), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(gate[1]);
    const std::int64_t ticks = this_process().start_ticks;
    char byte = 0;
    const bool told = ::write(answer[1], &ticks, sizeof ticks) == sizeof ticks;
    ::_exit(told && ::read(gate[0], &byte, 1) == 0 ? 0 : 1);  // until the gate is closed
  }
  ProcessMark mark = this_process();
  mark.pid = child;
  ASSERT_EQ(::read(answer[0], &mark.start_ticks, sizeof mark.start_ticks),
            static_cast<ssize_t>(sizeof mark.start_ticks));
  EXPECT_TRUE(may_be_alive(mark));
  ::close(gate[1]);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(may_be_alive(mark));
  for (const int fd : {gate[0], answer[0], answer[1]}) {
    ::close(fd);
  }
}

}  // namespace LM_FILE
}  // namespace lm::store
