// Faults on purpose: ends the process at, or fails, the k-th state-changing call, those of SQLite
// included.
#pragma once

#include <cerrno>
#include <cstring>

#include <sqlite3.h>
#include <unistd.h>

#include "store/file_ops.h"

namespace lm::store {

/// What happens at which call. One for the process.
struct FaultPlan {
  enum class Kind { none, kill, fail_once, fail_from };
  Kind kind = Kind::none;
  long at = 0;  ///< 1: the first call
  int error = 0;
  long calls = 0;  ///< seen so far
  /// Only SQLite's calls count, reads among them, and they fail with this result code. With
  /// SQLITE_BUSY its locks count instead.
  int sqlite_code = 0;
};

inline constexpr int kKilled = 77;  ///< exit status of a process that the plan ended

inline FaultPlan& fault_plan() {
  static FaultPlan plan;
  return plan;
}

/// Counts one call. Returns the errno it must fail with, or 0. Does not return from the call it is
/// to be killed at.
inline int next_call(bool of_sqlite = false) {
  FaultPlan& plan = fault_plan();
  if (plan.kind == FaultPlan::Kind::none || (plan.sqlite_code != 0 && !of_sqlite)) {
    return 0;
  }
  ++plan.calls;
  if (plan.kind == FaultPlan::Kind::kill && plan.calls == plan.at) {
    ::_exit(kKilled);
  }
  const bool once = plan.kind == FaultPlan::Kind::fail_once && plan.calls == plan.at;
  const bool from = plan.kind == FaultPlan::Kind::fail_from && plan.calls >= plan.at;
  return once || from ? plan.error : 0;
}

// A VFS that asks the plan before every write, sync, truncate and delete, and else does what the
// default one does.
namespace fault_vfs {

struct File {
  sqlite3_file base;
  sqlite3_file* real;
};

inline sqlite3_vfs* real_vfs() {
  static sqlite3_vfs* const vfs = sqlite3_vfs_find("unix");
  return vfs;
}
inline sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<File*>(file)->real;
}
inline int injected(int io_code) {
  if (fault_plan().sqlite_code == SQLITE_BUSY) {
    return SQLITE_OK;
  }
  const int error = next_call(true);
  if (error == 0) {
    return SQLITE_OK;
  }
  if (fault_plan().sqlite_code != 0) {
    return fault_plan().sqlite_code;
  }
  return error == ENOSPC ? SQLITE_FULL : io_code;
}

inline int close(sqlite3_file* f) {
  return real(f)->pMethods->xClose(real(f));
}
inline int read(sqlite3_file* f, void* to, int n, sqlite3_int64 at) {
  if (fault_plan().sqlite_code != 0) {
    if (const int fault = injected(SQLITE_IOERR_READ); fault != SQLITE_OK) {
      return fault;
    }
  }
  return real(f)->pMethods->xRead(real(f), to, n, at);
}
inline int write(sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
  const int fault = injected(SQLITE_IOERR_WRITE);
  return fault != SQLITE_OK ? fault : real(f)->pMethods->xWrite(real(f), from, n, at);
}
inline int truncate(sqlite3_file* f, sqlite3_int64 size) {
  const int fault = injected(SQLITE_IOERR_TRUNCATE);
  return fault != SQLITE_OK ? fault : real(f)->pMethods->xTruncate(real(f), size);
}
inline int sync(sqlite3_file* f, int flags) {
  const int fault = injected(SQLITE_IOERR_FSYNC);
  return fault != SQLITE_OK ? fault : real(f)->pMethods->xSync(real(f), flags);
}
inline int file_size(sqlite3_file* f, sqlite3_int64* size) {
  return real(f)->pMethods->xFileSize(real(f), size);
}
// SQLite may be told BUSY when it asks for a lock, and nowhere else.
inline bool counts_locks() {
  return fault_plan().sqlite_code == SQLITE_BUSY;
}
inline int lock(sqlite3_file* f, int kind) {
  if (counts_locks() && next_call(true) != 0) {
    return SQLITE_BUSY;
  }
  return real(f)->pMethods->xLock(real(f), kind);
}
inline int unlock(sqlite3_file* f, int kind) {
  return real(f)->pMethods->xUnlock(real(f), kind);
}
inline int check_lock(sqlite3_file* f, int* out) {
  return real(f)->pMethods->xCheckReservedLock(real(f), out);
}
inline int control(sqlite3_file* f, int op, void* arg) {
  return real(f)->pMethods->xFileControl(real(f), op, arg);
}
inline int sector_size(sqlite3_file* f) {
  return real(f)->pMethods->xSectorSize(real(f));
}
inline int device(sqlite3_file* f) {
  return real(f)->pMethods->xDeviceCharacteristics(real(f));
}
inline int shm_map(sqlite3_file* f, int i, int n, int extend, void volatile** out) {
  return real(f)->pMethods->xShmMap(real(f), i, n, extend, out);
}
inline int shm_lock(sqlite3_file* f, int at, int n, int flags) {
  if (counts_locks() && (flags & SQLITE_SHM_LOCK) != 0 && next_call(true) != 0) {
    return SQLITE_BUSY;
  }
  return real(f)->pMethods->xShmLock(real(f), at, n, flags);
}
inline void shm_barrier(sqlite3_file* f) {
  real(f)->pMethods->xShmBarrier(real(f));
}
inline int shm_unmap(sqlite3_file* f, int remove) {
  return real(f)->pMethods->xShmUnmap(real(f), remove);
}

inline const sqlite3_io_methods kMethods = {2,           close,       read,    write,   truncate,
                                            sync,        file_size,   lock,    unlock,  check_lock,
                                            control,     sector_size, device,  shm_map, shm_lock,
                                            shm_barrier, shm_unmap,   nullptr, nullptr};

inline int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  File* const f = reinterpret_cast<File*>(file);
  f->base.pMethods = nullptr;
  f->real = reinterpret_cast<sqlite3_file*>(f + 1);
  // Opening to create changes the disk; opening what is there doesn't.
  if (name != nullptr && (flags & SQLITE_OPEN_CREATE) != 0 && ::access(name, F_OK) != 0 &&
      injected(SQLITE_CANTOPEN) != SQLITE_OK) {
    return SQLITE_CANTOPEN;
  }
  const int status = real_vfs()->xOpen(real_vfs(), name, f->real, flags, out_flags);
  if (f->real->pMethods != nullptr) {
    f->base.pMethods = &kMethods;
  }
  return status;
}
inline int remove(sqlite3_vfs*, const char* name, int sync_folder) {
  const int fault = injected(SQLITE_IOERR_DELETE);
  return fault != SQLITE_OK ? fault : real_vfs()->xDelete(real_vfs(), name, sync_folder);
}

inline void install() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs copy = *real_vfs();
    copy.zName = "lm-fault";
    copy.szOsFile = static_cast<int>(sizeof(File)) + real_vfs()->szOsFile;
    copy.xOpen = open;
    copy.xDelete = remove;
    return copy;
  }();
  sqlite3_vfs_register(&vfs, 1);
}

}  // namespace fault_vfs

/// Installs a plan, for file_ops and SQLite.
inline void start_faults(const FaultPlan& plan) {
  fault_vfs::install();
  fault_plan() = plan;
  set_file_op_hook([](FileOp, const char*) { return next_call(); });
}

inline void stop_faults() {
  set_file_op_hook(nullptr);
  fault_plan() = {};
}

}  // namespace lm::store
