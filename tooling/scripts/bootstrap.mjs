// The road from a fresh clone to a running, tested or verified workspace. It runs on the machine's own Node and needs no
// dependency: everything else, Node 24 and pnpm included, comes from the npm registry in `prepareWorkspace`.

const commands = {
  start: () => import('./start.mjs'),
  test: () => import('./test.mjs'),
  verify: () => import('./verify.mjs'),
  sim: () => program('tests/simulation/src/cli.ts'),
  bench: () => program('bench/run.ts'),
}

const program = (entry) => import('./program.mjs').then((module) => module.program(entry))

const oldestNode = 20
if (Number.parseInt(process.versions.node, 10) < oldestNode) {
  console.error(
    `Syncline needs Node ${oldestNode} or later to set itself up, and this is Node ${process.versions.node}: install a newer one from https://nodejs.org and run the command again.`,
  )
  process.exit(1)
}

const [name, ...args] = process.argv.slice(2)
const load = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined
if (load === undefined) {
  console.error(`Usage: node tooling/scripts/bootstrap.mjs ${Object.keys(commands).join(' | ')}`)
  process.exit(1)
}

load()
  .then(({ main }) => main(args))
  .catch((error) => {
    console.error(error instanceof Error && error.name !== 'StepFailed' ? error.stack : error.message)
    process.exitCode = 1
  })
