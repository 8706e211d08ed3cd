// The directions in which this house may depend, each with its reason. `npm run verify` fails on an arrow that points up.

const tests = String.raw`\.(test|bench)\.tsx?$|/testing/|/test/`
const production = (folder) => ({ path: `^${folder}/src/`, pathNot: tests })

/** What the files of a package may reach, beside their own folder: workspace packages, node's modules, dependencies. */
const only = (name, folder, { packages = [], modules = [], node = false }, comment) => ({
  name,
  severity: 'error',
  comment,
  from: production(folder),
  to: {
    pathNot: [
      `^${folder}/`,
      ...packages.map((member) => `^packages/${member}/`),
      ...modules.map((module) => `(^|/)node_modules/${module}/`),
    ],
    ...(node && { dependencyTypesNot: ['core'] }),
  },
})

const noneOf = (name, from, to, comment) => ({ name, severity: 'error', comment, from, to })

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    noneOf(
      'no-cycles',
      {},
      { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
      'Files that need each other cannot be read, tested or replaced one at a time.',
    ),
    only(
      'core-needs-nothing',
      'packages/core',
      {},
      'Core has no dependency and no I/O, so that it runs anywhere and on a virtual clock.',
    ),
    only(
      'protocol-on-core',
      'packages/protocol',
      { packages: ['core'], modules: ['zod', '@standard-schema/spec'] },
      'Protocol stands on core and zod alone.',
    ),
    only(
      'storage-on-core',
      'packages/storage',
      { packages: ['core'], modules: ['better-sqlite3', '@types/better-sqlite3'], node: true },
      'Storage stands on core alone; database drivers are optional peers.',
    ),
    only(
      'server-on-core-protocol-storage',
      'packages/server',
      { packages: ['core', 'protocol', 'storage'], modules: ['ws', '@types/ws', 'zod', 'minisearch'], node: true },
      'The server stands on core, protocol, the ports of storage, ws, zod and minisearch: never on a client.',
    ),
    noneOf(
      'server-on-ports-of-storage',
      production('packages/server'),
      { path: '^packages/storage/src/(sqlite|postgres|redis|nats|sql)/' },
      'The server knows the ports of storage; which adapter stands behind them is chosen by the app.',
    ),
    only(
      'client-on-core-and-protocol',
      'packages/client',
      { packages: ['core', 'protocol'] },
      'The client runs in browsers: core and protocol, and no third-party code.',
    ),
    noneOf(
      'client-light-entries',
      production('packages/client'),
      {
        path: '^packages/protocol/src/',
        pathNot: '^packages/protocol/src/(codec/json|contract)\\.ts$',
        dependencyTypesNot: ['type-only'],
      },
      'The client loads `@syncline/protocol/codec` and `/contract`, which carry neither zod nor msgpackr.',
    ),
    noneOf(
      'light-entries-stay-light',
      { path: '^packages/protocol/src/(codec/json|contract)\\.ts$' },
      { path: '(^|/)node_modules/(zod|msgpackr)/', reachable: true },
      'Browsers load `@syncline/protocol/codec` and `/contract`: neither may reach zod or msgpackr, however indirectly.',
    ),
    noneOf(
      'kernel-without-features',
      {
        path: '^packages/server/src/',
        pathNot: `^packages/server/src/(features/|features\\.ts$|gateways/|index\\.ts$|server\\.ts$)|${tests}`,
      },
      { path: '^packages/server/src/(features/|features\\.ts$)' },
      'The kernel never imports a feature: features are handed to it as a list.',
    ),
    noneOf(
      'writable-maps-in-store',
      { path: '^packages/server/src/', pathNot: `^packages/server/src/store/|${tests}` },
      { path: String.raw`^packages/server/src/store/writable-map\.ts$` },
      'Data is changed by commits alone: whoever is not the store sees maps that are read-only.',
    ),
    noneOf(
      'server-by-the-list',
      { path: '^packages/server/src/server\\.ts$' },
      { path: '^packages/server/src/features/' },
      'The server knows the list of features and none of them by name.',
    ),
    noneOf(
      'features-apart',
      { path: '^packages/server/src/features/([^/]+)/', pathNot: tests },
      { path: '^packages/server/src/features/([^/]+)/', pathNot: '^packages/server/src/features/$1/' },
      'A feature never imports another one: what two of them need belongs to the kernel.',
    ),
    noneOf(
      'services-without-wire',
      { path: '^packages/server/src/features/[^/]+/service\\.ts$' },
      {
        path: '^packages/(protocol/src/(codec|read)/|server/src/(transport/|inbound/receive|outbound/(outbox|encode-once)))|(^|/)node_modules/(ws|@types/ws)/',
      },
      'A service returns or commits; it knows neither frames nor the socket.',
    ),
    noneOf(
      'wire-in-transport',
      { path: '^packages/server/src/', pathNot: `^packages/server/src/transport/|${tests}` },
      { path: '(^|/)node_modules/(ws|@types/ws)/' },
      'Only the transport knows what a WebSocket is.',
    ),
    only(
      'conformance-on-protocol',
      'packages/conformance',
      { packages: ['protocol'], modules: ['ws', '@types/ws'], node: true },
      'The kit examines servers and clients from outside: it shares the codec with them and nothing else.',
    ),
    only(
      'react-on-client',
      'packages/react',
      { packages: ['client'], modules: ['react', '@types/react'] },
      'The hooks stand on the client alone.',
    ),
    noneOf(
      'packages-below-apps',
      { path: '^packages/' },
      { path: '^(apps|examples|bench|tests)/' },
      'A package never imports what is built on it.',
    ),
    noneOf(
      'production-without-tests',
      { path: '^(packages|apps)/[^/]+/src/', pathNot: tests },
      { path: tests, pathNot: 'node_modules' },
      'Production code never loads test code.',
    ),
    noneOf(
      'declared-dependencies',
      { path: '^(packages|apps|examples|bench|tests|tooling)/', pathNot: '^tooling/(lint|scripts)/' },
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'] },
      'What is imported is named in the package.json of the package that imports it.',
    ),
    noneOf(
      'development-tools-stay-home',
      { path: '^packages/[^/]+/src/', pathNot: tests },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm', 'npm-peer', 'npm-optional'] },
      'What is only a devDependency is not there when the published package runs, unless it is built into it, as in apps.',
    ),
    noneOf('resolvable', {}, { couldNotResolve: true }, 'An import that leads nowhere.'),
    noneOf(
      'public-entries-only',
      { path: '^(packages|apps|examples|bench|tests)/([^/]+)/' },
      { path: '^packages/([^/]+)/src/', pathNot: '^packages/$2/', dependencyTypes: ['local'] },
      'Across packages the package name is imported, never a file of it.',
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^[^/]+/[^/]+/(dist|coverage)/' },
    tsPreCompilationDeps: 'specify',
    moduleSystems: ['es6'],
    enhancedResolveOptions: {
      conditionNames: ['@syncline/source', 'import', 'node', 'default'],
      exportsFields: ['exports'],
      mainFields: ['module', 'main', 'types'],
      extensions: ['.ts', '.tsx', '.mts', '.mjs', '.js', '.d.ts', '.json'],
    },
  },
}
