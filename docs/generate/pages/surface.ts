/**
 * Generates the page that counts what a person has to learn, and the size of the tree. It judges nothing: a change that adds a noun shows it in
 * its own diff.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ApiDeps } from '../../../api/deps.ts'
import { routesOf } from '../../../api/routes/all-routes.ts'
import { alertKinds } from '../../../domain/monitoring/alert-kinds.ts'
import { checkout } from '../../../temporal.config.ts'
import { markdownCode, markdownTable } from '../../../test/support/docs/markdown-table.ts'
import { allCommands } from './commands.ts'
import { nothing } from './routes.ts'

const read = (path: string): string => readFileSync(join(checkout, path), 'utf8')

/** `pages`: the other generated pages by file name, whose rows are the words of a model file, of a policy and of the configuration. */
export function surfacePage(pages: ReadonlyMap<string, string>): string {
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: checkout,
    encoding: 'utf8',
  })
    .split('\n')
    .filter((path) => path !== '')
  const { scripts, dependencies } = JSON.parse(read('package.json')) as Record<
    'scripts' | 'dependencies',
    Record<string, string>
  >
  const routes = routesOf(nothing as ApiDeps).map(({ method, path }) => `${method.toUpperCase()} ${path}`)
  const commands = allCommands().filter(({ sameAs }) => sameAs === undefined)
  const sqlOfTables = files.filter((path) => path.startsWith('migrations/')).map(read)
  const tables = namesIn(sqlOfTables.join('\n'))
  const kinds = [...alertKinds]
  const wordsOf = (page: string): number => pages.get(page)?.match(/^\| `/gm)?.length ?? 0
  const documents = files.filter((path) => path.endsWith('.md'))
  const words = sum(documents.map((path) => read(path).split(/\s+/).length))
  return [
    '# Surface',
    '',
    'What a person who uses or keeps Tenure has to learn, counted from the code, and the lines of each room. Lines and words are thousands.',
    'A change that raises a number says in its commit what it takes out instead.',
    '',
    markdownTable(
      ['noun', 'count'],
      (
        [
          ['HTTP routes', routes.length],
          ['commands', commands.length],
          ['options of commands', sum(commands.map(({ options = [] }) => options.length))],
          ['environment variables', wordsOf('configuration.md')],
          ['kinds of alerts', kinds.length],
          ['tables', tables.length],
          ['words of a model file', wordsOf('model-file.md')],
          ['words of policies', wordsOf('policy.md')],
          ['npm scripts', Object.keys(scripts).length],
          ['production dependencies', Object.keys(dependencies).length],
          ['thousand words of documents', thousands(words)],
        ] as const
      ).map(([name, count]) => [name, String(count)]),
    ),
    '',
    '## Lines by room',
    '',
    linesTable(files),
    '',
    ...(
      [
        ['Kinds of alerts', kinds],
        ['Tables', tables],
        ['npm scripts', Object.keys(scripts)],
        ['Production dependencies', Object.keys(dependencies)],
        ['HTTP routes', routes],
        ['Commands', commands.map(({ name }) => name)],
      ] as const
    ).flatMap(([title, names]) => [
      `## ${title}`,
      '',
      ...names.toSorted((one, other) => (one < other ? -1 : 1)).map((name) => `- ${markdownCode(name)}`),
      '',
    ]),
  ].join('\n')
}

const sum = (numbers: readonly number[]): number => numbers.reduce((one, other) => one + other, 0)
const thousands = (number: number): number => Math.round(number / 1_000)

/** The tables that the migrations create and do not drop, without partitions. */
function namesIn(sql: string): string[] {
  const named = (pattern: RegExp) => [...sql.matchAll(pattern)].map((found) => found[1]!)
  const dropped = new Set(named(/^\s*drop table (?:if exists )?(\w+)/gim))
  return named(/^\s*create (?:unlogged )?table (?:if not exists )?(\w+)\b(?! partition of)/gim).filter(
    (name) => !dropped.has(name),
  )
}

const code = /\.(?:ts|tsx|mjs|js|py|sql|css|sh)$/
/** `packages/lab`, `packages/lab/test`: a package is a room of its own. */
const roomOf = (path: string): string =>
  path
    .split('/')
    .slice(0, path.startsWith('packages/') ? 2 : 1)
    .join('/')
const isTest = (path: string): boolean => /(?:^|\/)test\//.test(path) || path.includes('.test.')

function linesTable(files: readonly string[]): string {
  const rooms = new Map<string, { source: number; tests: number }>()
  for (const path of files.filter((each) => code.test(each) && each.includes('/'))) {
    const room = rooms.get(roomOf(path)) ?? { source: 0, tests: 0 }
    room[isTest(path) ? 'tests' : 'source'] += read(path).split('\n').length - 1
    rooms.set(roomOf(path), room)
  }
  const rows = [...rooms].toSorted(([one], [other]) => (one < other ? -1 : 1))
  const all = (of: 'source' | 'tests') => sum(rows.map(([, lines]) => lines[of]))
  return markdownTable(
    ['room', 'source', 'tests'],
    [...rows, ['all', { source: all('source'), tests: all('tests') }] as const].map(([room, lines]) => [
      markdownCode(room),
      String(thousands(lines.source)),
      String(thousands(lines.tests)),
    ]),
  )
}
