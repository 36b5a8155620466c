/**
 * Finds the places that could open a connection. A call beside the one client (`store/outgoing-fetch.ts`, `store/outgoing-address.ts`) would
 * follow redirects, reach private addresses and read without limit.
 */
import type { Node } from 'oxc-parser'
import type { Source } from './source.ts'

/** Path → whose server it calls, and who names the address. */
const callers: Readonly<Record<string, string>> = {
  'store/outgoing-address.ts': 'the one client',
  'store/undici.ts': 'the one client, and store/tls/api-fetch.ts',
  'store/tls/api-fetch.ts': 'replicas of this installation, which have private addresses',
  'api/services/rollback/rollback-without-database.ts': 'replicas of this installation',
  'api/temporal/client.ts': 'Temporal, named by the environment',
  'api/streams/kafka/committed-consumer.ts': 'nothing: its `fetch` is a function of the Kafka client',
  'cli/client/client.ts': 'the API, named by the environment of the command',
  'cli/demo/replay.ts': 'the API that the command has started',
  'cli/demo/world.ts': 'the API that the command has started',
  'cli/doctor/api.ts': 'the API, named by the environment of the command',
  'cli/supervisor/rolling-restart.ts': 'replicas that the supervisor has started',
  'cli/supervisor/shared-port.ts': 'nothing: it listens',
}

const layers =
  /^(activities|api|cli(?!\/export\/edge)|domain|models|store|workflows|temporal\.config\.ts)(\/|$)/
const modules = /^(node:)?(net|http|https|http2|tls|dgram|dns|dns\/promises)$|^undici$/
/** What opens no connection. */
const passive = new Set([
  'BlockList',
  'IncomingMessage',
  'STATUS_CODES',
  'Server',
  'TLSSocket',
  'constants',
  'createSecureContext',
  'createServer',
  'isIP',
])
const globals = new Set(['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest'])

export function issuesOfNetwork(sources: readonly Source[]): string[] {
  return sources
    .filter(({ path }) => layers.test(path) && callers[path] === undefined)
    .flatMap(({ path, nodes }) => connecting(nodes).map((word) => `${path} uses ${word}`))
}

/** Returns entries of the table whose file opens no connection any more. */
export const idleCallers = (sources: readonly Source[]): string[] =>
  Object.keys(callers).filter(
    (path) => !sources.some((source) => source.path === path && connecting(source.nodes).length > 0),
  )

/** The files that call by the one client. */
export const placesOfClient = (sources: readonly Source[]): string[] =>
  sources
    .filter(({ path, imports }) =>
      imports.some(
        ({ to, typeOnly }) =>
          layers.test(path) && !typeOnly && /^store\/outgoing-(fetch|address)\.ts$/.test(to),
      ),
    )
    .map(({ path }) => path)
    .filter((path) => !path.startsWith('store/outgoing-'))

function connecting(nodes: readonly Node[]): string[] {
  /** Names of properties and methods, which refer to nothing. */
  const keys = new Set<unknown>()
  for (const node of nodes) {
    if (node.type === 'MemberExpression' && !node.computed) keys.add(node.property)
    if (node.type === 'Property' && !node.shorthand) keys.add(node.key)
    if (node.type === 'TSPropertySignature' || node.type === 'TSMethodSignature') keys.add(node.key)
    if (node.type === 'ExportSpecifier' || node.type === 'ImportSpecifier')
      for (const value of Object.values(node)) keys.add(value)
  }
  return nodes.flatMap((node) => {
    if (node.type === 'ImportDeclaration' || node.type === 'ExportNamedDeclaration') {
      const from = node.source?.value ?? ''
      const kind = node.type === 'ImportDeclaration' ? node.importKind : node.exportKind
      if (!modules.test(from) || kind === 'type') return []
      return node.specifiers.flatMap((each) => {
        if ('importKind' in each && each.importKind === 'type') return []
        const name =
          'imported' in each ? each.imported : 'local' in each && 'exported' in each ? each.local : undefined
        const word = name !== undefined && 'name' in name ? name.name : '*'
        return passive.has(word) ? [] : [`${word} of ${from}`]
      })
    }
    if (node.type === 'ImportExpression' && node.source.type === 'Literal') {
      const from = String(node.source.value)
      return modules.test(from) ? [`import('${from}')`] : []
    }
    if (node.type === 'TSTypeQuery') return []
    if (
      node.type === 'MemberExpression' &&
      node.object.type === 'Identifier' &&
      node.property.type === 'Identifier'
    )
      return node.object.name === 'globalThis' && globals.has(node.property.name) ? [node.property.name] : []
    return node.type === 'Identifier' && globals.has(node.name) && !keys.has(node) ? [node.name] : []
  })
}
