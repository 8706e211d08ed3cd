import { StorageError } from '../adapter.ts'

/** One step of a database's schema. Its transaction also records the version. */
export interface Migration<Connection> {
  /** 1 for the first, and one more for each after it. */
  readonly version: number
  up(connection: Connection): void | Promise<void>
}

/** A database whose schema can be brought up to date. */
export interface MigrationTarget<Connection> {
  /** What messages call the database. */
  readonly name: string
  /** Version of the last migration that was carried out, 0 for an empty database. */
  readVersion(): number | Promise<number>
  /** Carries out a step and records its version, both or neither. */
  transaction(step: Migration<Connection>): void | Promise<void>
}

/**
 * Carries out the migrations that a database lacks, each in a transaction of its own: one that is interrupted leaves no
 * trace, and the next start goes on from there. Throws `newer-schema` and touches nothing where the database is newer.
 */
export async function migrate<Connection>(
  target: MigrationTarget<Connection>,
  migrations: readonly Migration<Connection>[],
): Promise<void> {
  const known = migrations.at(-1)?.version ?? 0
  const found = await target.readVersion()
  if (found > known) {
    throw new StorageError(
      'newer-schema',
      `${target.name} has schema version ${found}, which a newer Syncline made, and this one knows versions up to ${known}: upgrade Syncline.`,
    )
  }
  for (const step of migrations) {
    if (step.version > found) await target.transaction(step)
  }
}
