#!/usr/bin/env node
// Loaded before anything else and in words that an old Node understands: the database driver crashes on one without a
// message, so what needs a newer one is imported only after the check.

const oldest = [22, 12]
const found = process.versions.node
const [major = 0, minor = 0] = found.split('.').map(Number)

if (major < 22 || (major === 22 && minor < 12)) {
  console.error(
    `syncline: this is Node ${found}, and Syncline needs Node ${oldest.join('.')} or later: get one from https://nodejs.org (or "nvm install 24") and run the command again.`,
  )
  process.exit(78)
}

import('./main.ts').then(
  ({ main }) => main(process.argv),
  (error: unknown) => {
    console.error(
      `syncline: the command could not be loaded: ${error instanceof Error ? error.message : String(error)}`,
    )
    process.exit(70)
  },
)
