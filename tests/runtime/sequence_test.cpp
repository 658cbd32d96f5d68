#include "runtime/kv/sequence.h"

#include <cstring>

#include <gtest/gtest.h>

#include "backends/reference/reference_backend.h"
#include "runtime/kv/page_pool.h"
#include "runtime/kv/state_pool.h"

namespace lm {
namespace LM_FILE {

constexpr std::uint64_t kPageBytes = 64;

class SequenceTest : public testing::Test {
 protected:
  std::unique_ptr<Backend> device = make_reference_backend();
  PagePool pool{{device.get()}, {{0, {kPageBytes}}, {40, {kPageBytes}}}, {10, 6}, 4};

  std::byte* page(std::uint32_t group, std::uint32_t id) {
    std::uint64_t offset = 0;
    Buffer* slab = pool.slab_of(0, group, id, &offset);
    return slab->host() + offset;
  }
};

TEST_F(SequenceTest, GrowsByPagesOfThirtyTwo) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(32));
  s.commit(32);
  EXPECT_EQ(s.table(0).size(), 1u);
  ASSERT_TRUE(s.reserve(1));
  s.commit(1);
  EXPECT_EQ(s.table(0).size(), 2u);
  EXPECT_EQ(s.table(1).size(), 2u);
  EXPECT_EQ(s.length(), 33u);
}

TEST_F(SequenceTest, ReserveIsAllOrNothingWhenThePoolIsUsedUp) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(100));
  s.commit(100);
  const auto failed = s.reserve(200);  // group 1 has 6 pages only
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(s.length(), 100u);
  EXPECT_EQ(s.table(0).size(), 4u);
  EXPECT_EQ(pool.used_pages(0), 4u);
  EXPECT_EQ(pool.used_pages(1), 4u);
}

TEST_F(SequenceTest, UnreserveGivesBackWhatACancelledStepTook) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(20));
  s.commit(20);
  ASSERT_TRUE(s.reserve(60));
  EXPECT_EQ(pool.used_pages(0), 3u);
  s.unreserve();
  EXPECT_EQ(pool.used_pages(0), 1u);
  EXPECT_EQ(s.length(), 20u);
}

TEST_F(SequenceTest, ForkSharesPagesAndCopiesTheLastOneOnlyWhenWritten) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(40));
  s.commit(40);
  std::memset(page(0, s.table(0)[1]), 7, kPageBytes);
  auto copy = s.fork();
  ASSERT_TRUE(copy);
  EXPECT_EQ(pool.used_pages(0), 2u);
  EXPECT_EQ((*copy)->table(0), s.table(0));

  ASSERT_TRUE((*copy)->reserve(1));
  (*copy)->commit(1);
  EXPECT_EQ((*copy)->table(0)[0], s.table(0)[0]) << "a full page stays shared";
  ASSERT_NE((*copy)->table(0)[1], s.table(0)[1]) << "the page that is written to is copied";
  EXPECT_EQ(std::memcmp(page(0, (*copy)->table(0)[1]), page(0, s.table(0)[1]), kPageBytes), 0);

  std::memset(page(0, (*copy)->table(0)[1]), 9, kPageBytes);
  EXPECT_EQ(std::to_integer<int>(page(0, s.table(0)[1])[0]), 7) << "the original keeps its content";
}

TEST_F(SequenceTest, ForkAtAPageBoundaryNeedsNoCopy) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(32));
  s.commit(32);
  auto copy = s.fork();
  ASSERT_TRUE(copy);
  ASSERT_TRUE((*copy)->reserve(1));
  EXPECT_EQ((*copy)->table(0)[0], s.table(0)[0]);
  EXPECT_EQ(pool.used_pages(0), 2u);
}

TEST_F(SequenceTest, PagesAreFreeWhenTheLastOwnerIsGone) {
  auto s = std::make_unique<Sequence>(pool, nullptr);
  ASSERT_TRUE(s->reserve(64));
  s->commit(64);
  auto copy = s->fork();
  s.reset();
  EXPECT_EQ(pool.used_pages(0), 2u);
  copy->reset();
  EXPECT_EQ(pool.used_pages(0), 0u);
  EXPECT_EQ(pool.free_pages(0), 10u);
}

TEST_F(SequenceTest, RollBackForgetsTokensAndPages) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(70));
  s.commit(70);
  ASSERT_TRUE(s.roll_back(7));
  EXPECT_EQ(s.length(), 63u);
  EXPECT_EQ(s.table(0).size(), 2u);
  ASSERT_TRUE(s.roll_back(63));
  EXPECT_EQ(s.length(), 0u);
  EXPECT_EQ(pool.used_pages(0), 0u);
  const auto too_many = s.roll_back(1);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().code, ErrorCode::invalid_argument);
}

TEST_F(SequenceTest, ReleaseBehindAWindowKeepsIndicesAndFreesPages) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(128));
  s.commit(128);
  s.release_before(1, 128 - 40 + 1);  // 89: pages 0 and 1 hold 0..63 only
  EXPECT_EQ(s.table(1)[0], kNoPage);
  EXPECT_EQ(s.table(1)[1], kNoPage);
  EXPECT_NE(s.table(1)[2], kNoPage);
  EXPECT_EQ(pool.used_pages(1), 2u);
  EXPECT_EQ(pool.used_pages(0), 4u) << "the other group is untouched";
  s.release_before(1, 89);
  EXPECT_EQ(pool.used_pages(1), 2u) << "releasing again changes nothing";

  const auto behind = s.roll_back(40);  // length 88 would need index 49, whose page is gone
  ASSERT_FALSE(behind);
  EXPECT_EQ(behind.error().code, ErrorCode::unsupported);
  EXPECT_EQ(s.length(), 128u);
  EXPECT_TRUE(s.roll_back(10));
}

TEST_F(SequenceTest, SlabsGrowWithoutMovingPages) {
  Sequence s(pool, nullptr);
  ASSERT_TRUE(s.reserve(32));
  s.commit(32);
  const std::byte* before = page(0, s.table(0)[0]);
  ASSERT_TRUE(s.reserve(160 - 32));
  s.commit(160 - 32);
  EXPECT_EQ(page(0, s.table(0)[0]), before);
  EXPECT_EQ(pool.slab_table(0).begin[1], 2u) << "group 0 has two slabs of four pages";
  EXPECT_EQ(pool.slab_table(0).slab.size(), 4u);
}

TEST_F(SequenceTest, StateSlotsAreZeroedSharedAndCopiedOnWrite) {
  auto states = StatePool::create({device.get()}, {16}, 3);
  ASSERT_TRUE(states);
  Sequence s(pool, states->get());
  ASSERT_TRUE(s.reserve(1));
  s.commit(1);
  std::byte* slot = (*states)->memory(0).host() + s.state_slot() * 16;
  EXPECT_EQ(std::to_integer<int>(slot[15]), 0);
  std::memset(slot, 5, 16);

  auto snapshot = s.fork();
  ASSERT_TRUE(snapshot);
  EXPECT_EQ((*snapshot)->state_slot(), s.state_slot());
  const std::uint32_t old_slot = s.state_slot();
  ASSERT_TRUE(s.reserve(1));
  EXPECT_NE(s.state_slot(), old_slot);
  EXPECT_EQ(std::to_integer<int>((*states)->memory(0).host()[s.state_slot() * 16]), 5);

  const auto back = s.roll_back(0);
  EXPECT_TRUE(back);
  s.commit(1);
  const auto refused = s.roll_back(1);
  ASSERT_FALSE(refused) << "a recurrent state can't forget";
  EXPECT_EQ(refused.error().code, ErrorCode::unsupported);

  (*snapshot)->clear();
  EXPECT_EQ((*states)->used(), 1u);
  Sequence fresh(pool, states->get());
  ASSERT_TRUE(fresh.reserve(1));
  EXPECT_EQ(std::to_integer<int>((*states)->memory(0).host()[fresh.state_slot() * 16]), 0)
      << "reused slots are zeroed";
}

TEST_F(SequenceTest, NoStateSlotLeftIsAnErrorThatLeavesPagesAlone) {
  auto states = StatePool::create({device.get()}, {16}, 1);
  ASSERT_TRUE(states);
  Sequence first(pool, states->get());
  ASSERT_TRUE(first.reserve(1));
  Sequence second(pool, states->get());
  const std::uint32_t used = pool.used_pages(0);
  const auto refused = second.reserve(1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_EQ(pool.used_pages(0), used);
}

}  // namespace LM_FILE
}  // namespace lm
