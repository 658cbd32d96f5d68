#include "store/sha256.h"

#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "store/file_ops.h"

namespace lm::store {
namespace {

void start(EVP_MD_CTX* context) {
  // Can only fail for want of memory: the algorithm is built in and its parameters are fixed. Asked
  // for first, because OpenSSL 3 goes on, and crashes, when its own beginning has failed.
  if (OSSL_LIB_CTX_get0_global_default() == nullptr || context == nullptr ||
      EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc();
  }
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  try {
    start(context_);
  } catch (...) {
    EVP_MD_CTX_free(context_);
    throw;
  }
}

Sha256::Sha256(Sha256&& other) noexcept : context_(std::exchange(other.context_, nullptr)) {}

Sha256& Sha256::operator=(Sha256&& other) noexcept {
  std::swap(context_, other.context_);
  return *this;
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(context_);
}

void Sha256::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_, bytes.data(), bytes.size()) != 1) {
    throw std::bad_alloc();
  }
}

void Sha256::update(std::string_view text) {
  update(std::as_bytes(std::span(text)));
}

Digest Sha256::finish() {
  Digest digest;
  if (EVP_DigestFinal_ex(context_, digest.bytes.data(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  start(context_);
  return digest;
}

Digest sha256(std::string_view text) {
  Sha256 hasher;
  hasher.update(text);
  return hasher.finish();
}

Result<Digest> sha256_of_file(int fd, std::uint64_t size_bytes, std::string_view subject,
                              const std::function<bool(std::uint64_t, std::uint64_t)>& progress) {
  constexpr std::uint64_t kBlock = 1 << 20;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, size_bytes)));
  Sha256 hasher;
  for (std::uint64_t done = 0; done < size_bytes;) {
    const auto wanted = static_cast<std::size_t>(std::min(kBlock, size_bytes - done));
    const std::span part = std::span(block).first(wanted);
    LM_CHECK(read_exact(fd, part, done, subject));
    hasher.update(part);
    done += wanted;
    LM_CHECK(report_progress(progress, done, size_bytes, subject));
  }
  return hasher.finish();
}

}  // namespace lm::store
