/// SQLite behind values: handles that close themselves, errors as store::Error.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "store/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace lm::store {

/// One row source. Columns are read after `step` returned true.
class Statement {
 public:
  Statement& bind(int place, std::int64_t value);
  Statement& bind(int place, std::string_view value);  ///< the text must live until the last `step`
  /// True: there is a row. False: done.
  Result<bool> step();
  /// `step` of a statement without rows.
  Result<void> run();
  std::int64_t integer(int column) const;
  std::string text(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(sqlite3_stmt* statement, const std::string* subject)
      : statement_(statement), subject_(subject) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  const std::string* subject_;
  int bind_status_ = 0;
};

class Database {
 public:
  enum class Access {
    create,      ///< read and write, made when missing
    read_write,  ///< must exist
    read_only,   ///< must exist; other processes may write
    immutable,   ///< must exist on a medium that can't be written: no lock, no shared memory
    memory       ///< a new empty one without a file
  };

  /// Errors: not_found (missing), io, read_only. Damage shows at the first statement, as `corrupt`.
  static Result<Database> open(const std::filesystem::path& file, Access access);

  Result<Statement> prepare(std::string_view sql);
  /// Several statements without values.
  Result<void> execute(const std::string& sql);
  /// Ends the open transaction. What fails in doing so ends with the handle.
  void roll_back() noexcept;
  /// First column of the first row.
  Result<std::int64_t> integer(std::string_view sql);
  void set_busy_timeout_ms(int milliseconds);
  /// True when the file was renamed or deleted since it was opened: what is written now is lost.
  bool moved() const;
  /// Leaves the file as it is when the handle is closed, even as the last user.
  void leave_untouched();
  const std::string& subject() const { return *subject_; }

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  Database() = default;
  std::unique_ptr<std::string> subject_;  // at a fixed address: statements point to it
  std::unique_ptr<sqlite3, Close> handle_;
};

/// BEGIN IMMEDIATE ... COMMIT; rolled back when it goes without `commit`.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace lm::store
