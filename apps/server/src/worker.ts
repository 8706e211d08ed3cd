// The thread of SQLite storage, which is started from a file beside the one that starts it.
import '@syncline/storage/sqlite/worker'
