import { StorageError, type StorageFault } from '../adapter.ts'

/**
 * What an error of SQLite or of the file system means for the storage at `path`. `doing` names the attempt.
 *
 * The code decides. One of SQLite or of the system that nobody expects is `io`: a storage whose state is unknown must
 * not go on. Those by which SQLite says that it was used wrongly or lacks memory, and errors that carry no such code,
 * are failures of this program: the transaction was rolled back, and what is on disk is known.
 */
export function toStorageError(error: unknown, path: string, doing: string): StorageError {
  if (error instanceof StorageError) return error
  const code = (error as { code?: string } | null)?.code ?? ''
  const cause = error instanceof Error ? error.message : String(error)
  const fault = faultOfCode(code)
  return new StorageError(fault, sentenceOf(fault, path, doing, `${code}${code === '' ? '' : ': '}${cause}`), {
    cause: error,
  })
}

function faultOfCode(code: string): StorageFault {
  // The index beside the log could not grow: nothing was written, and the log is untouched.
  if (code === 'SQLITE_IOERR_SHMSIZE' || code === 'SQLITE_FULL' || code === 'ENOSPC' || code === 'EDQUOT') return 'full'
  if (/^SQLITE_(?:BUSY|LOCKED|PROTOCOL)/.test(code)) return 'unavailable'
  if (/^SQLITE_(?:READONLY|CANTOPEN|PERM|AUTH)/.test(code)) return 'read-only'
  if (/^E(?:ACCES|PERM|ROFS|NOTDIR|ISDIR|EXIST)$/.test(code)) return 'read-only'
  if (/^SQLITE_(?:CORRUPT|NOTADB|FORMAT|SCHEMA|MISMATCH|CONSTRAINT|ERROR)/.test(code)) return 'damaged'
  if (/^SQLITE_(?:NOMEM|MISUSE|RANGE|TOOBIG|INTERNAL|INTERRUPT|ABORT|NOTFOUND|EMPTY)/.test(code)) return 'internal'
  return /^(?:SQLITE_|E[A-Z0-9]+$)/.test(code) ? 'io' : 'internal'
}

function sentenceOf(fault: StorageFault, path: string, doing: string, cause: string): string {
  switch (fault) {
    case 'full':
      return `No space is left to ${doing} ${path}: free some, and what was refused can be written again (${cause}).`
    case 'unavailable':
      return `Another process holds ${path} locked, so it was not possible to ${doing} it: end that process, or wait for it (${cause}).`
    case 'read-only':
      return `It was not possible to ${doing} ${path}: let this process write the file and its folder, or choose another path (${cause}).`
    case 'damaged':
      return `${path} is damaged or no database of Syncline: restore it from a backup, or move it away to start afresh (${cause}).`
    case 'internal':
      return `Syncline itself, and not the disk, failed to ${doing} ${path}: give it more memory if it lacks some, else report this; nothing of it was stored, and it can be tried again (${cause}).`
    default:
      return `The disk failed to ${doing} ${path}, and what it holds is unknown: end this process, look after the disk and start again (${cause}).`
  }
}
