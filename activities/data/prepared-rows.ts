/**
 * Computes the columns of `prepare` for rows in memory: those of requests, of the prediction log and of tests. The SQL is that of
 * snapshots and batches, in a database without access to files and with a limit on memory and time.
 */
import { DomainError } from '../../domain/errors.ts'
import { columnOf, type ColumnTable } from '../../domain/model/columns.ts'
import { sentFeatures, type FeatureRow, type Features } from '../../domain/model/features.ts'
import {
  computedColumns,
  duckType,
  emptyRows,
  failureOf,
  isFailedCell,
  valueOfColumn,
  withComputed,
} from '../../domain/model/prepare.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import { loadDuckDb, openDuck, withDuck, type Duck } from './duckdb.ts'
import { firstLineOf } from './source-errors.ts'

/** The rows with columns that were computed for them. */
export const withComputedCells = (
  rows: ColumnTable,
  computed: Readonly<Record<string, BatchCell[]>>,
): ColumnTable => ({
  rows: rows.rows,
  columns: {
    ...rows.columns,
    ...Object.fromEntries(Object.entries(computed).map(([name, cells]) => [name, columnOf(cells)])),
  },
})

export type CellsOf = (name: string) => ArrayLike<BatchCell>

export interface Preparer {
  /**
   * The computed columns by name. A failed cell, as `isFailedCell` tells it, stands where an expression fails for a row. Throws where a
   * query fails as a whole, as by its limits: that is no fault of the values.
   */
  compute(cells: CellsOf, rows: number): Promise<Record<string, BatchCell[]>>
  /** The error of the first failed row, with the words of DuckDB; undefined without one. */
  failureIn(computed: Record<string, BatchCell[]>, cells: CellsOf): Promise<DomainError | undefined>
  /** The fields that the expression of a computed column names. */
  fieldsOf(column: string): ReadonlySet<string>
  close(): void
}

const memory = '256MB'
const limitMs = 2_000
/** The rows of a query: the limits hold for each. */
const sliceRows = 5_000

/** Opens the columns of a version. Throws `artifact_invalid` for expressions that may not run. */
export async function openPreparer(features: Features): Promise<Preparer> {
  const { duck, close } = await openDuck({ isClosed: true, memory })
  try {
    const checked = await checkColumns(duck, features)
    if ('issue' in checked) throw new DomainError('artifact_invalid', checked.issue)
    return await prepareStatements({ duck, close }, features, checked.fieldsOf)
  } catch (error) {
    close()
    throw error
  }
}

async function prepareStatements(
  { duck: { connection }, close }: { duck: Duck; close: () => void },
  features: Features,
  fieldsOf: FieldsOf,
): Promise<Preparer> {
  const { DOUBLE, VARCHAR, LIST } = loadDuckDb()
  const fields = new Set([...fieldsOf.values()].flatMap((used) => [...used]))
  const kinds = [...fields].map((name) => ({ name, kind: features[name]!.kind }))
  const columns = computedColumns(features)
  const listed = kinds
    .map(
      ({ name, kind }, at) => `unnest(cast($${at + 1} as ${duckType(kind)}[])) as ${quotedIdentifier(name)}`,
    )
    .join(', ')
  const names = columns.map(({ name }) => quotedIdentifier(name)).join(', ')
  const statement = await connection.prepare(
    `select ${names} from (${withComputed(features, `select ${listed}`)})`,
  )
  // A connection runs one statement at a time, and a statement has one set of parameters.
  let last: Promise<unknown> = Promise.resolve()
  let isClosed = false
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isClosed) throw new DomainError('model_unavailable', 'the version is unloaded')
    const next = last.then(work)
    last = next.catch(() => {})
    return next
  }
  const bind = (to: typeof statement, cells: CellsOf, from: number, rows: number): void => {
    for (const [at, { name, kind }] of kinds.entries()) {
      const all = cells(name)
      const some = Array.from({ length: rows }, (_, row) => all[from + row] ?? null)
      to.bindList(at + 1, some, LIST(kind === 'number' ? DOUBLE : VARCHAR))
    }
  }
  const within = async <T>(work: () => Promise<T>): Promise<T> => {
    const timer = setTimeout(() => connection.interrupt(), limitMs)
    return work().finally(() => clearTimeout(timer))
  }
  return {
    async compute(cells, rows) {
      const computed: Record<string, BatchCell[]> = Object.fromEntries(columns.map(({ name }) => [name, []]))
      for (let from = 0; from < rows; from += sliceRows)
        await alone(async () => {
          bind(statement, cells, from, Math.min(sliceRows, rows - from))
          const found = await within(() => statement.runAndReadAll()).catch((error: unknown) => {
            throw new Error(`the expressions of prepare fail: ${firstLineOf(error)}`)
          })
          const values = found.getColumns() as BatchCell[][]
          for (const [at, { name }] of columns.entries())
            for (const value of values[at] ?? []) computed[name]!.push(value)
        })
      return computed
    },
    async failureIn(computed, cells) {
      for (const column of columns) {
        const row = computed[column.name]!.findIndex(isFailedCell)
        if (row < 0) continue
        const reason = await alone(async () => {
          const one = await connection.prepare(`select ${valueOfColumn(column)} from (select ${listed})`)
          bind(one, cells, row, 1)
          return within(() => one.runAndReadAll())
            .then((found) => `it gives ${String(found.getColumns()[0]?.[0])}`, firstLineOf)
            .finally(() => one.destroySync())
        })
        return new DomainError('prepare_failed', `instance ${row}: ${failureOf(column.name)}: ${reason}`, {
          feature: column.name,
        })
      }
      return undefined
    },
    fieldsOf: (column) => fieldsOf.get(column)!,
    close() {
      isClosed = true
      // A database may not be closed while it runs a statement.
      void last.then(close)
    },
  }
}

/** Computes the columns of rows, each with all of its fields. Throws `prepare_failed`. */
export async function prepareRows(preparer: Preparer, rows: readonly FeatureRow[]): Promise<FeatureRow[]> {
  const cells: CellsOf = (name) => rows.map((row) => row[name] ?? null)
  const computed = await preparer.compute(cells, rows.length)
  const failure = await preparer.failureIn(computed, cells)
  if (failure !== undefined) throw failure
  return rows.map((row, at) => ({
    ...row,
    ...(Object.fromEntries(
      Object.entries(computed).map(([name, values]) => [name, values[at]]),
    ) as FeatureRow),
  }))
}

/** Returns the first expression of `prepare` that may not run, with what to do; undefined when all may. */
export async function issueOfPrepare(features: Features): Promise<string | undefined> {
  if (computedColumns(features).length === 0) return undefined
  const checked = await withDuck((duck) => checkColumns(duck, features), { isClosed: true, memory })
  return 'issue' in checked ? checked.issue : undefined
}

/** Functions whose answer depends on more than their arguments, although the catalogue says otherwise. */
const settings = new Set([
  'current_setting',
  'getvariable',
  'getenv',
  'error',
  'version',
  'hash',
  'vector_type',
])

/** Whether a call has a value that changes: without arguments, and with one `age` counts from today. */
const isOfNow = (called: string, args: number): boolean =>
  (args === 0 && called !== 'pi') || (called === 'age' && args === 1)

/**
 * Functions whose answer may be much larger than what they get, or whose time grows with the square of a text. DuckDB ends neither by its
 * limits, so one request could take the memory or the time of a replica.
 */
const unbounded = new Set(
  (
    'repeat lpad rpad range generate_series bar list_resize array_resize format printf ' +
    'levenshtein editdist3 damerau_levenshtein jaccard jaro_similarity jaro_winkler_similarity'
  ).split(' '),
)
/** These repeat their third argument, which is bounded where it is written in the expression. */
const replacing = new Set(['replace', 'regexp_replace'])

/** The fields that the expressions name, by computed column. */
type FieldsOf = ReadonlyMap<string, ReadonlySet<string>>

async function checkColumns(
  duck: Duck,
  features: Features,
): Promise<{ issue: string } | { fieldsOf: FieldsOf }> {
  const sent = sentFeatures(features)
  const names = new Map(Object.keys(sent).map((name) => [name.toLowerCase(), name]))
  const fieldsOf = new Map<string, ReadonlySet<string>>()
  for (const column of computedColumns(features)) {
    const used = new Set<string>()
    fieldsOf.set(column.name, used)
    const refused = (why: string) => ({ issue: `prepare.columns.${column.name}: ${why}` })
    const why = await issueOfExpression(duck, column.sql, (name) => {
      const field = names.get(name.toLowerCase())
      if (field !== undefined) used.add(field)
      return field !== undefined
    })
    if (why !== undefined)
      return refused(why.startsWith('"') ? `${why}: name one of ${[...names.values()].join(', ')}` : why)
    const types = await duck
      .rows<{ type: string }>(
        `select column_type as type from (describe select (${column.sql}\n) as value from (${emptyRows(sent)}))`,
      )
      .catch((error: unknown) => firstLineOf(error))
    if (typeof types === 'string') return refused(types)
    const type = types[0]?.type ?? ''
    const isNumber = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*|BOOLEAN)$/.test(type)
    if (column.kind === 'number' && !isNumber)
      return refused(
        `gives ${type}, and the feature is a number(): convert it, as with try_cast(… as double)`,
      )
    if (column.kind !== 'number' && type !== 'VARCHAR')
      return refused(
        `gives ${type}, and the feature is a ${column.kind}(): convert it, as with cast(… as varchar)`,
      )
  }
  return { fieldsOf }
}

/** A node of DuckDB's syntax tree. */
interface SyntaxNode {
  class?: string
  type?: string
  function_name?: string
  schema?: string
  catalog?: string
  column_names?: string[]
  children?: SyntaxNode[]
}

const rowWise = [
  'COLUMN_REF',
  'CONSTANT',
  'FUNCTION',
  'OPERATOR',
  'CAST',
  'CASE',
  'COMPARISON',
  'CONJUNCTION',
  'BETWEEN',
  'COLLATE',
]

/** Returns why an expression is not computed from a row alone; undefined when it is. */
async function issueOfExpression(
  duck: Duck,
  sql: string,
  isField: (name: string) => boolean,
): Promise<string | undefined> {
  const nodes = await syntaxOf(duck, sql)
  if (typeof nodes === 'string') return nodes
  for (const {
    class: kind = '',
    column_names: path = [],
    function_name: called = '',
    schema = '',
    children = [],
  } of nodes) {
    if (!rowWise.includes(kind))
      return `has a ${kind.toLowerCase()}: an expression is computed from the fields of one row, so compute other columns in the source, or look them up`
    if (kind === 'COLUMN_REF' && (path.length !== 1 || !isField(path[0]!)))
      return `"${path.join('.')}" is no field of the row`
    if (kind === 'FUNCTION') {
      const issue = ['', 'main'].includes(schema)
        ? await issueOfFunction(duck, called.toLowerCase(), children)
        : `calls ${schema}.${called}(): leave the schema out`
      if (issue !== undefined) return issue
    }
  }
  return undefined
}

async function issueOfFunction(
  duck: Duck,
  called: string,
  args: readonly SyntaxNode[],
): Promise<string | undefined> {
  const found = await duck.rows<{ kind: string; stability: string | null; definition: string | null }>(
    `select function_type as kind, stability, macro_definition as definition from duckdb_functions() where function_name = ${textLiteral(called)} and function_type in ('scalar', 'macro', 'aggregate')`,
  )
  if (found.length === 0) return `calls ${called}(), which is no function of one row in DuckDB`
  const isScalar = found.every(({ kind }) => kind === 'scalar' || kind === 'macro')
  if (!isScalar)
    return `calls ${called}(), which reads more than one row: compute it in the source, or look it up`
  if (
    settings.has(called) ||
    isOfNow(called, args.length) ||
    found.some(({ stability }) => stability !== null && stability !== 'CONSISTENT')
  )
    return `calls ${called}(), whose value changes from call to call: send what it gives as a field`
  if (unbounded.has(called) || (replacing.has(called) && args[2]?.class !== 'CONSTANT'))
    return `calls ${called}(), which may take the memory or the time of a replica: compute it before the request`
  for (const { definition } of found) {
    if (definition === null) continue
    const issue = await issueOfExpression(duck, definition, () => true)
    if (issue !== undefined) return `calls ${called}(), which ${issue}`
  }
  return undefined
}

/** Returns the nodes of the syntax tree of an expression, or why the text is no expression. */
async function syntaxOf(duck: Duck, sql: string): Promise<SyntaxNode[] | string> {
  const [row] = await duck.rows<{ tree: string }>(
    `select json_serialize_sql(${textLiteral(`select (${sql}\n)`)}, skip_null := true) as tree`,
  )
  const tree = JSON.parse(row?.tree ?? '{}') as {
    error?: boolean
    error_message?: string
    statements?: { node: { type: string; select_list: object[]; from_table?: { type: string } } }[]
  }
  const [statement, ...more] = tree.statements ?? []
  if (tree.error === true || statement === undefined)
    return `is no expression of DuckDB: ${(tree.error_message ?? '').split('\n')[0]}`
  const { select_list: list, from_table: from, type } = statement.node
  if (more.length > 0 || type !== 'SELECT_NODE' || list.length !== 1 || from?.type !== 'EMPTY')
    return 'is more than one expression'
  return [...nodesOf(list[0])]
}

function* nodesOf(tree: unknown): Generator<SyntaxNode> {
  if (typeof tree !== 'object' || tree === null) return
  if ('class' in tree) yield tree as SyntaxNode
  for (const part of Object.values(tree)) yield* nodesOf(part)
}
