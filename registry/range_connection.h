/// One connection of a download: asks for a range, checks the answer, hands on its bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "registry/chunk_map.h"
#include "registry/http.h"

namespace lm::registry {

class RangeConnection;

/// What a connection needs of the download it belongs to.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  /// Of the whole file.
  virtual std::uint64_t size_bytes() const = 0;
  /// Whether the speed limit lets so many bytes in now; counts them if it does.
  virtual bool may_take(std::uint64_t bytes) = 0;
  /// Bytes for `connection.position`. False ends the transfer.
  virtual bool take_bytes(RangeConnection& connection, std::span<const char> bytes) = 0;
  /// Whether an answer's ETag is one of the file begun with. False ends the download.
  virtual bool is_same_file(std::string_view etag) = 0;
  /// The server sends the whole file whatever is asked for.
  virtual void on_range_ignored() = 0;
};

/// State of one connection, open to its owner: the owner starts it, reads how far it came and ends
/// it.
class RangeConnection : public TransferSink {
 public:
  RangeConnection(const HubSettings& settings, ConnectionOwner& owner_of_this)
      : transfer(settings), owner_(owner_of_this) {}

  /// Asks `url` for `wanted`. `whole`: ranges are ignored there, so `wanted` is no claim on the
  /// chunk map.
  void start(TransferLoop& loop, const Url& url, const Secret* token, ByteRange wanted, bool whole);

  bool on_answer(int status, const Headers& headers) override;
  Take on_body(std::span<const char> bytes) override;

  Transfer transfer;
  ByteRange range;  ///< claimed; empty for a whole-file stream
  std::uint64_t position = 0;
  std::uint64_t end = 0;  ///< where this answer's bytes end
  bool active = false;
  bool whole_file = false;
  bool paused = false;
  bool broken = false;  ///< the answer broke the protocol: `error`
  Error error;
  std::uint64_t arrived = 0;  ///< bytes of this request
  std::uint64_t fresh = 0;    ///< of them new
  Clock::time_point started;
  Clock::time_point last_byte;

 private:
  bool refuse(std::string problem);

  ConnectionOwner& owner_;
};

}  // namespace lm::registry
