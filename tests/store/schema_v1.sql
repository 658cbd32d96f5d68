-- Schema 1 as released. Never changed: later programs must open it.
PRAGMA journal_mode = WAL;
CREATE TABLE models (
  key TEXT PRIMARY KEY,            -- file name in manifests/ without ".json"
  name TEXT NOT NULL,
  id TEXT NOT NULL,                -- SHA-256 of the manifest's bytes
  size_bytes INTEGER NOT NULL,     -- of all layers
  modified_unix INTEGER NOT NULL,
  architecture TEXT NOT NULL,
  quantization TEXT NOT NULL,
  parameter_count INTEGER NOT NULL,
  file_inode INTEGER NOT NULL,     -- of the manifest, to see whether it has changed
  file_size INTEGER NOT NULL,
  file_mtime_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX models_by_id ON models (id);
CREATE TABLE layers (
  model_key TEXT NOT NULL REFERENCES models (key) ON DELETE CASCADE,
  digest TEXT NOT NULL,            -- 64 hex digits
  PRIMARY KEY (model_key, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX layers_by_digest ON layers (digest);
CREATE TABLE leases (
  digest TEXT NOT NULL,
  model_key TEXT NOT NULL,
  pid INTEGER NOT NULL,
  boot TEXT NOT NULL,
  start_ticks INTEGER NOT NULL,
  expires_unix INTEGER NOT NULL,
  PRIMARY KEY (digest, model_key, pid, boot, start_ticks)
) STRICT, WITHOUT ROWID;
CREATE TABLE uses (
  model_key TEXT PRIMARY KEY,
  used_unix INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE folder_stamp (        -- at most one row
  one INTEGER PRIMARY KEY CHECK (one = 1),
  device INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  recorded_ns INTEGER NOT NULL
) STRICT;
PRAGMA application_id = 1819109752;
PRAGMA user_version = 1;
INSERT INTO models VALUES ('gone%3a1', 'gone:1', 'ff', 1, 1, '', '', 0, 1, 1, 1);
INSERT INTO layers VALUES ('gone%3a1', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
INSERT INTO settings VALUES ('device.cpu', 'kept');
