import type { Database } from 'better-sqlite3'
import type { Migration } from '../sql/migrations.ts'

/** Marks a file as a database of Syncline: `SYNC` in ASCII. */
export const APPLICATION_ID = 0x53594e43

/** The schema's steps. A step that was released never changes; README.md describes what they come to. */
export const SQLITE_MIGRATIONS: readonly Migration<Database>[] = [
  {
    version: 1,
    up(db) {
      db.pragma(`application_id = ${APPLICATION_ID}`)
      db.exec(`
        create table meta (
          id integer primary key check (id = 1),
          database_id text not null,
          durable_seq integer not null
        ) strict;

        create table maps (
          id integer primary key,
          name text not null unique
        ) strict;

        create table records (
          id integer primary key,
          map_id integer not null,
          key text not null,
          seq integer not null,
          state text not null,
          value text,
          unique (map_id, key)
        ) strict;
        create index records_by_seq on records (map_id, seq);

        create table unique_claims (
          map_id integer not null,
          field text not null,
          value blob not null,
          key text not null,
          primary key (map_id, field, value)
        ) strict, without rowid;

        create table once_marks (
          id integer primary key,
          client_id text not null,
          mark_id text not null,
          outcome text not null,
          at_ms integer not null,
          unique (client_id, mark_id)
        ) strict;
        create index once_marks_by_time on once_marks (at_ms);

        create table fences (
          name text primary key,
          token integer not null
        ) strict, without rowid;

        create table kv (
          key text primary key,
          value text not null
        ) strict, without rowid;
      `)
    },
  },
]
