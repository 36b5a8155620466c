/** Implements the architecture rules. Each is a function from source files to messages that name the file and the violation. */
import type { Node } from 'oxc-parser'
import { issueOfImport, layerOf } from './layers.ts'
import type { Source } from './source.ts'

/** Names without meaning, which attract unrelated code. */
const emptyNames =
  /(^|[/.-])(utils?|common|helpers?|libs?|misc|shared(?!-port))([/.-]|$)|\.(service|types|class)\./

export function issuesOfImports(sources: readonly Source[]): string[] {
  return sources.flatMap((source) => source.imports.flatMap((each) => issueOfImport(each) ?? []))
}

export function issuesOfNames(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path }) => [
    ...(emptyNames.test(path) ? [`${path} has a name that says nothing`] : []),
    ...(path !== path.toLowerCase() ? [`${path} is not in lower case`] : []),
  ])
}

export function issuesOfBarrels(sources: readonly Source[]): string[] {
  return sources
    .filter(({ path, reexports }) => reexports && layerOf(path) === 'domain')
    .map(
      ({ path }) =>
        `${path} passes on what another file exports: a barrel can pull an impure file into the workflows`,
    )
}

/** Returns files that import each other, including type imports. Such files cannot be read, moved or tested alone. */
export function issuesOfCycles(sources: readonly Source[]): string[] {
  const edges = new Map(
    sources.map(({ path, imports }) => [path, imports.filter(({ inside }) => inside).map(({ to }) => to)]),
  )
  const issues: string[] = []
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) issues.push(`a cycle: ${[...trail.slice(at), path].join(' → ')}`)
    if (at >= 0 || done.has(path)) return
    for (const next of edges.get(path) ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const path of edges.keys()) visit(path, [])
  return issues
}

export function issuesOfSyntax(sources: readonly Source[]): string[] {
  return sources.flatMap(({ path, nodes }) =>
    nodes.flatMap((node) => {
      const word = bannedWord(node)
      return word !== undefined && !mayUse(word, path) ? [`${path} has ${word}`] : []
    }),
  )
}

const impure = [
  'Date.now()',
  'Math.random()',
  'new Date()',
  'performance',
  'setTimeout',
  'setInterval',
  'fetch',
]

/** Returns whether a file may use a restricted word; an unlisted word is forbidden everywhere. */
function mayUse(word: string, path: string): boolean {
  if (impure.includes(word)) return !['domain', 'packages/sequential/src'].includes(layerOf(path))
  if (word === 'console')
    return (
      ['cli', 'docs', 'packages/lab'].includes(layerOf(path)) ||
      /^(packages\/[^/]+\/examples\/|deploy\/(package|temporal-cluster)\/|deploy\/promote-build\.ts$|test\/(changed\.ts|check\.mjs|simulation\/simulate\.ts|workflows\/replay\.ts)$)/.test(
        path,
      )
    )
  if (word === 'process.env')
    return /^(temporal\.config\.ts|project\.mjs|(cli|deploy\/package|packages\/(embedded\/src\/install|lab))\/.*\.mjs|test\/check\.mjs|test\/cli\/setup\/setup\.test\.ts)$/.test(
      path,
    )
  if (word === 'class DomainError') return path === 'domain/errors.ts'
  if (word === 'export default') return ['vitest.config.ts', 'test/support/global-setup.ts'].includes(path)
  return false
}

function bannedWord(node: Node): string | undefined {
  switch (node.type) {
    case 'TSAnyKeyword':
      return 'any'
    case 'TSEnumDeclaration':
      return 'enum'
    case 'ClassDeclaration':
    case 'ClassExpression':
      return `class ${node.id?.name ?? ''}`.trim()
    case 'ExportDefaultDeclaration':
      return 'export default'
    case 'CallExpression': {
      const called = nameOf(node.callee)
      if (called === 'Date.now' || called === 'Math.random') return `${called}()`
      return called !== undefined && impure.includes(called) ? called : undefined
    }
    case 'NewExpression':
      return nameOf(node.callee) === 'Date' && node.arguments.length === 0 ? 'new Date()' : undefined
    case 'MemberExpression': {
      const named = nameOf(node)
      if (named === 'process.env') return 'process.env'
      if (named?.startsWith('console.')) return 'console'
      return named?.startsWith('performance.') ? 'performance' : undefined
    }
    default:
      return undefined
  }
}

/** Returns `a` or `a.b` as written; undefined for deeper expressions. */
function nameOf(node: Node): string | undefined {
  if (node.type === 'Identifier') return node.name
  if (node.type !== 'MemberExpression' || node.computed) return undefined
  if (node.object.type !== 'Identifier' || node.property.type !== 'Identifier') return undefined
  return `${node.object.name}.${node.property.name}`
}

/** What reads archives, compressed bytes, and folders as a whole. */
const readers =
  /^(readdir|opendir|cp|glob)(Sync)?$|^(create)?(gunzip|inflate|inflateRaw|unzip|brotliDecompress|zstdDecompress)(Sync)?$/i

/**
 * The files that may: the extractor, and those that read what this installation itself or its operator has written. Files from elsewhere
 * are read through `store/foreign/`.
 */
const ownFiles: Readonly<Record<string, string>> = {
  'store/python/python-environment.ts': 'names in the cache, to delete',
  'activities/data/matching-files.ts': 'names of files that a model file asks for; DuckDB reads them',
  'activities/trainers/attempt-folder.ts': 'checkpoints, for the program that wrote them',
  'api/http/decompress.ts': 'one body, bounded, with no names',
  'api/serving/log/served-counter.ts': 'own counters',
  'api/serving/routing/disk-cache.ts': 'own copies, verified by signature',
  'api/serving/routing/pending-rollbacks.ts': 'own orders, verified by signature',
  'api/routes/python-wheel.mjs': 'own sources of the Python package',
  'cli/backup/point-in-time/keep-log.ts': 'the log that Postgres archives',
  'cli/backup/point-in-time/log-segment.ts': 'one file, signed by this installation and bounded',
  'cli/backup/point-in-time/restore-to.ts': 'the log that Postgres archives, and the restored directory',
  'cli/backup/point-in-time/write-base.ts': 'the own data directory',
  'cli/commands/admin/reset.ts': 'names in the state directory, to delete',
  'cli/commands/registry/versions.ts': 'the folder of a model that its user registers',
  'cli/doctor/machine.ts': '/proc',
  'cli/export/write.ts': 'whether a directory is empty',
  'cli/state-dir.ts': 'whether a directory is empty',
  'cli/supervisor/shared-port.ts': 'own offers of a port',
  'models/define/program-files.ts': 'programs beside model files, bounded; no link leaves their folder',
  'models/index.ts': 'the model files',
  'packages/embedded/src/postgres.ts': 'binaries of a package, and /proc',
  'deploy/package/compile-package.mjs': 'what it has compiled',
  'store/bundles/trusted-signers.ts': 'public keys of the operator',
  'store/database/migrate.ts': 'the migrations',
  'store/files-below.ts': 'own files, named by their digest',
  'store/maintenance/sent-alerts.ts': 'own records',
  'store/process-usage.ts': '/proc',
}

/** Whether a node imports a whole module whose parts the rule looks for. */
const isWhole = (node: Node): boolean =>
  node.type === 'ImportDeclaration' &&
  /^node:(fs(\/promises)?|zlib)$/.test(node.source.value) &&
  node.specifiers.some((each) => each.type !== 'ImportSpecifier')

/** Returns files of the product that read archives or folders in their own way, and entries of `ownFiles` that do not. */
export function issuesOfRoads(sources: readonly Source[]): string[] {
  const product = sources.filter(
    ({ path }) =>
      !/^(packages\/[^/]+\/test|packages\/lab|test|deploy|docs)\/|^(cli\/(setup|build)|packages\/embedded\/src\/install)\/|^store\/foreign\//.test(
        path,
      ),
  )
  const reading = product.filter(({ nodes }) =>
    nodes.some(
      (node) =>
        isWhole(node) ||
        (node.type === 'ImportSpecifier' && readers.test(nameOf(node.imported as Node) ?? '')),
    ),
  )
  const paths = new Set(reading.map(({ path }) => path))
  return [
    ...[...paths]
      .filter((path) => !Object.hasOwn(ownFiles, path))
      .map(
        (path) =>
          `${path} reads an archive or a folder: use store/foreign, or name it in ownFiles with what wrote the files`,
      ),
    ...Object.keys(ownFiles)
      .filter((path) => !paths.has(path) && product.some((each) => each.path === path))
      .map((path) => `${path} in ownFiles reads no archive and no folder`),
  ]
}

/** Returns codes of the error table that no code raises or no test triggers. */
export function issuesOfErrorCodes(sources: readonly Source[], codes: readonly string[]): string[] {
  const said = (within: readonly Source[]) =>
    new Set(within.flatMap(({ nodes }) => nodes.flatMap((node) => textOf(node) ?? [])))
  const raised = said(sources.filter(({ path }) => layerOf(path) !== 'test' && path !== 'domain/errors.ts'))
  const tripped = said(sources.filter(({ path }) => layerOf(path) === 'test'))
  return codes.flatMap((code) => [
    ...(raised.has(code) ? [] : [`${code} is raised by no code`]),
    ...(tripped.has(code) ? [] : [`${code} is tripped by no test`]),
  ])
}

function textOf(node: Node): string | undefined {
  return node.type === 'Literal' && typeof node.value === 'string' ? node.value : undefined
}

/** What a replica loads on its first use only: each costs megabytes and a part of its start. */
const lateInReplica = new Set(['@temporalio/client'])

/** The server, and what it imports while it connects. */
const starting = [
  'api/server.ts',
  'api/listener.ts',
  'api/services/command-delivery.ts',
  'api/services/alerts/stand-in.ts',
]

/** Returns the files from which a replica loads such a package at its start. */
export function issuesOfReplicaStart(sources: readonly Source[]): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const seen = new Set<string>()
  const visit = (path: string): string[] => {
    if (seen.has(path)) return []
    seen.add(path)
    return (byPath.get(path)?.imports ?? [])
      .filter(({ typeOnly, isLate }) => !typeOnly && !isLate)
      .flatMap(({ to, inside }) => {
        if (inside) return visit(to)
        return lateInReplica.has(to) ? [`${path} loads ${to} at the start of a replica`] : []
      })
  }
  return starting.flatMap(visit)
}
