// The house's own lint rules, loaded by .oxlintrc.json.

const why =
  'Time, chance and the outside are handed in, so that the whole system can run on a virtual clock in one process: take it from `Env`.'

const forbiddenGlobals = new Set([
  'console',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'clearTimeout',
  'clearInterval',
  'clearImmediate',
  'requestAnimationFrame',
  'requestIdleCallback',
])

const forbiddenMembers = new Map([
  ['AbortSignal', ['timeout']],
  ['Date', ['now']],
  ['Math', ['random']],
  ['crypto', ['randomUUID', 'getRandomValues', 'randomBytes', 'randomInt']],
  ['process', ['env', 'hrtime', 'stdout', 'stderr']],
])

const forbiddenImports = new Map([
  ['console', undefined],
  [
    'crypto',
    ['randomUUID', 'getRandomValues', 'randomBytes', 'randomInt', 'randomFill', 'randomFillSync', 'webcrypto'],
  ],
  ['perf_hooks', undefined],
  ['process', ['env', 'hrtime', 'stdout', 'stderr']],
  ['timers', undefined],
  ['timers/promises', undefined],
])

const typePositions = new Set(['TSTypeQuery', 'TSTypeReference', 'TSQualifiedName', 'TSInterfaceHeritage'])

/** The name of `x.name` and `x['name']`, or undefined. */
function memberName({ computed, property }) {
  if (!computed) return property.name
  return property.type === 'Literal' ? String(property.value) : undefined
}

function isGlobal(context, node) {
  let scope = context.sourceCode.getScope(node)
  while (scope !== null) {
    const variable = scope.set.get(node.name)
    if (variable !== undefined && variable.defs.length > 0) return false
    scope = scope.upper
  }
  return true
}

/** True where the identifier is a value that is read: not a property's name, not a key, not a type. */
function isRead(node) {
  const { parent } = node
  if (typePositions.has(parent.type) || parent.type === 'ImportSpecifier') return false
  if (parent.type === 'MemberExpression') return parent.object === node || parent.computed
  if (parent.type === 'Property') return parent.value === node && parent.parent.type === 'ObjectExpression'
  if (parent.type.startsWith('TS') && !parent.type.endsWith('Expression')) return false
  return !/^(?:Method|Property|Accessor)Definition$/.test(parent.type) || parent.value === node
}

const handedIn = {
  meta: {
    type: 'problem',
    docs: { description: 'Forbids reading the clock, chance, timers, the environment and the console outside `Env`.' },
  },
  create(context) {
    const report = (node, name) => context.report({ node, message: `\`${name}\` is not allowed here. ${why}` })
    return {
      Identifier(node) {
        if (forbiddenGlobals.has(node.name) && isRead(node) && isGlobal(context, node)) report(node, node.name)
      },
      MemberExpression(node) {
        const name = memberName(node)
        let { object } = node
        if (
          object.type === 'Identifier' &&
          /^(?:globalThis|window|self|global)$/.test(object.name) &&
          forbiddenGlobals.has(name)
        ) {
          report(node, `${object.name}.${name}`)
        }
        if (
          object.type === 'MemberExpression' &&
          object.object.type === 'Identifier' &&
          object.object.name === 'globalThis'
        ) {
          object = { type: 'Identifier', name: memberName(object), isGlobal: true }
        }
        if (object.type !== 'Identifier') return
        if (forbiddenMembers.get(object.name)?.includes(name) && (object.isGlobal || isGlobal(context, object))) {
          report(node, `${object.name}.${name}`)
        }
      },
      NewExpression(node) {
        if (node.callee.name === 'Date' && node.arguments.length === 0 && isGlobal(context, node.callee))
          report(node, 'new Date()')
      },
      CallExpression(node) {
        if (node.callee.name === 'Date' && isGlobal(context, node.callee)) report(node, 'Date()')
      },
      ImportDeclaration(node) {
        const module = node.source.value.replace(/^node:/, '')
        if (!forbiddenImports.has(module) || node.importKind === 'type') return
        const names = forbiddenImports.get(module)
        for (const specifier of node.specifiers) {
          const name = specifier.type === 'ImportSpecifier' ? specifier.imported.name : undefined
          if (specifier.importKind === 'type') continue
          if (names === undefined || (name !== undefined && names.includes(name)))
            report(specifier, `${module}${name ? `.${name}` : ''}`)
        }
      },
    }
  },
}

const noExportStar = {
  meta: { type: 'problem', docs: { description: 'Forbids `export * from`: a reader must see what a module gives.' } },
  create(context) {
    return {
      ExportAllDeclaration(node) {
        if (node.exported === null)
          context.report({
            node,
            message: 'Name what is exported: `export *` hides what a module gives, and what a change of it breaks.',
          })
      },
    }
  },
}

export default {
  meta: { name: 'syncline' },
  rules: { 'handed-in': handedIn, 'no-export-star': noExportStar },
}
