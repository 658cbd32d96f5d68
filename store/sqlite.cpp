#include "store/sqlite.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

namespace lm::store {
namespace {

ErrorCode to_code(int status, int os_error) {
  switch (status & 0xff) {
    case SQLITE_FULL:
      return ErrorCode::no_space;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:  // what the processes share about the log never gets right
      return ErrorCode::locked;
    case SQLITE_READONLY:
      return ErrorCode::read_only;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // a table or column of ours that isn't there
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:  // every write of ours obeys the schema
    case SQLITE_MISMATCH:
      return ErrorCode::corrupt;
    case SQLITE_IOERR:
      return os_error == ENOSPC || os_error == EDQUOT ? ErrorCode::no_space : ErrorCode::io;
    default:
      return ErrorCode::io;
  }
}

// The errno behind a failure: the connection's, else that of its log or of the database itself.
int os_error_of(sqlite3* handle) {
  if (handle == nullptr) {
    return 0;
  }
  int error = sqlite3_system_errno(handle);
  for (const int kind : {SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER}) {
    sqlite3_file* file = nullptr;
    if (error == 0 &&
        sqlite3_file_control(handle, "main", kind, static_cast<void*>(&file)) == SQLITE_OK &&
        file != nullptr && file->pMethods != nullptr) {
      file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error);
    }
  }
  return error;
}

Error sqlite_error(sqlite3* handle, int status, const std::string& subject) {
  const int os_error = os_error_of(handle);
  Error error{.code = to_code(status, os_error), .subject = subject, .problem = {}};
  error.problem = fmt::format("SQLite: {}",
                              handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(status));
  const int primary = status & 0xff;
  if ((primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_FULL) &&
      os_error != 0) {
    error.os_error = os_error;
    error.problem += fmt::format(" ({})", std::strerror(os_error));
  }
  if (primary == SQLITE_PROTOCOL) {
    error.hint = fmt::format(
        "make {0}-shm a file that can be written, or delete it once no lm runs", subject);
  } else if (error.code == ErrorCode::locked) {
    error.hint = "another lm process has been writing for more than 10 s; try again";
  } else if (error.code == ErrorCode::no_space) {
    error.hint = "free some space and try again";
  }
  return error;
}

// file: URI of a path; '?', '#' and '%' would end or change it.
std::string file_uri(const std::filesystem::path& file) {
  std::string uri = "file:";
  for (const char c : file.native()) {
    if (c == '?' || c == '#' || c == '%') {
      uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      uri += c;
    }
  }
  return uri + "?immutable=1";
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Statement& Statement::bind(int place, std::int64_t value) {
  bind_status_ |= sqlite3_bind_int64(statement_.get(), place, value);
  return *this;
}

Statement& Statement::bind(int place, std::string_view value) {
  bind_status_ |= sqlite3_bind_text64(statement_.get(), place, value.data(), value.size(),
                                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Result<bool> Statement::step() {
  sqlite3* const handle = sqlite3_db_handle(statement_.get());
  if (bind_status_ != SQLITE_OK) {
    return std::unexpected(sqlite_error(handle, bind_status_, *subject_));
  }
  const int status = sqlite3_step(statement_.get());
  if (status == SQLITE_ROW) {
    return true;
  }
  if (status == SQLITE_DONE) {
    return false;
  }
  return std::unexpected(sqlite_error(handle, status, *subject_));
}

Result<void> Statement::run() {
  for (;;) {
    LM_TRY(const bool row, step());
    if (!row) {
      return {};
    }
  }
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) {
    return {};
  }
  const int length = sqlite3_column_bytes(statement_.get(), column);
  return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(length)};
}

void Database::Close::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

Result<Database> Database::open(const std::filesystem::path& file, Access access) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  std::string name = file.native();
  switch (access) {
    case Access::create:
      flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
      break;
    case Access::read_write:
      flags |= SQLITE_OPEN_READWRITE;
      break;
    case Access::read_only:
      flags |= SQLITE_OPEN_READONLY;
      break;
    case Access::immutable:
      flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
      name = file_uri(file);
      break;
    case Access::memory:
      flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY;
      name = ":memory:";
      break;
  }
  Database database;
  database.subject_ = std::make_unique<std::string>(file.native());
  sqlite3* raw = nullptr;
  const int status = sqlite3_open_v2(name.c_str(), &raw, flags, nullptr);
  database.handle_.reset(raw);
  if (status != SQLITE_OK) {
    Error error = sqlite_error(raw, status, file.native());
    if (error.os_error == ENOENT) {
      error.code = ErrorCode::not_found;
    }
    return std::unexpected(std::move(error));
  }
  // The file may have been written by anybody: no SQL functions out of its schema, no writes to its
  // schema table.
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return database;
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int status =
      sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
  if (status != SQLITE_OK) {
    return std::unexpected(sqlite_error(handle_.get(), status, *subject_));
  }
  return Statement(raw, subject_.get());
}

Result<void> Database::execute(const std::string& sql) {
  const int status = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (status != SQLITE_OK) {
    return std::unexpected(sqlite_error(handle_.get(), status, *subject_));
  }
  return {};
}

Result<std::int64_t> Database::integer(std::string_view sql) {
  LM_TRY(Statement statement, prepare(sql));
  LM_TRY(const bool row, statement.step());
  return row ? statement.integer(0) : 0;
}

void Database::roll_back() noexcept {
  sqlite3_exec(handle_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Database::set_busy_timeout_ms(int milliseconds) {
  sqlite3_busy_timeout(handle_.get(), milliseconds);
}

bool Database::moved() const {
  int moved = 0;
  return sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
         moved != 0;
}

void Database::leave_untouched() {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

Result<Transaction> Transaction::begin(Database& database) {
  LM_CHECK(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)) {}

Transaction::~Transaction() {
  if (database_ != nullptr) {
    database_->roll_back();
  }
}

Result<void> Transaction::commit() {
  LM_CHECK(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace lm::store
