#include "store/digest.h"

#include "store/sha256.h"
#include "tests/store/store_fixture.h"

namespace lm::store {
namespace LM_FILE {

const std::string kHex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Digest, ReadsBothSpellings) {
  for (const std::string& text : {"sha256:" + kHex, "sha256-" + kHex}) {
    const auto digest = Digest::parse(text);
    ASSERT_OK(digest);
    EXPECT_EQ(digest->hex(), kHex);
    EXPECT_EQ(digest->text(), "sha256:" + kHex);
    EXPECT_EQ(digest->blob_name(), "sha256-" + kHex);
  }
  EXPECT_EQ(Digest::parse_hex(kHex).value(), sha256("abc"));
}

TEST(Digest, RefusesEverythingElse) {
  std::string upper = kHex;
  upper[0] = 'B';
  const std::string cases[] = {
      "",
      "sha256:",
      kHex,
      "sha256:" + upper,
      "sha256:" + kHex + "0",
      "sha256:" + kHex.substr(1),
      "SHA256:" + kHex,
      "sha512:" + kHex,
      "sha256_" + kHex,
      " sha256:" + kHex,
      "sha256:" + kHex + "\n",
      "sha256:../../../../../../../../../../../../../../../../etc/passwd00000",
      "sha256:" + std::string(64, '/'),
      "sha256:" + std::string(63, '0') + "g",
      "sha256:" + std::string(63, '0') + std::string(1, '\0')};
  for (const std::string& text : cases) {
    EXPECT_ERROR(Digest::parse(text), ErrorCode::invalid_name);
  }
  EXPECT_ERROR(Digest::parse_hex("sha256:" + kHex), ErrorCode::invalid_name);
  EXPECT_ERROR(Digest::parse_hex(upper), ErrorCode::invalid_name);
}

// FIPS 180-4 examples.
TEST(Sha256, GivesThePublishedDigests) {
  EXPECT_EQ(sha256("").hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc").hex(), kHex);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq").hex(),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, DoesNotDependOnHowTheBytesCome) {
  const std::string text(1000, 'q');
  for (std::size_t step = 1; step < 200; step += 13) {
    Sha256 hasher;
    for (std::size_t at = 0; at < text.size(); at += step) {
      hasher.update(std::string_view(text).substr(at, step));
    }
    EXPECT_EQ(hasher.finish(), sha256(text));
    EXPECT_EQ(hasher.finish(), sha256("")) << "starts again";
  }
}

TEST(Error, MapsErrnoToCodes) {
  EXPECT_EQ(errno_error("f", "write", ENOSPC).code, ErrorCode::no_space);
  EXPECT_EQ(errno_error("f", "write", EDQUOT).code, ErrorCode::no_space);
  EXPECT_EQ(errno_error("f", "open", EROFS).code, ErrorCode::read_only);
  EXPECT_EQ(errno_error("f", "open", ENOENT).code, ErrorCode::not_found);
  const Error error = errno_error("some/file", "fsync", EIO);
  EXPECT_EQ(error.code, ErrorCode::io);
  EXPECT_EQ(error.os_error, EIO);
  EXPECT_EQ(error.subject, "some/file");
  EXPECT_EQ(error.problem, "fsync: Input/output error");
  EXPECT_EQ(code_name(ErrorCode::digest_mismatch), "digest_mismatch");
  EXPECT_EQ(code_name(ErrorCode::invalid_argument), "invalid_argument");
}

}  // namespace LM_FILE
}  // namespace lm::store
