/** Stores the rows of a batch once, so that every attempt scores the same rows. */
import { copyFile, rm, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { textType } from '../../domain/values/types.ts'
import { quotedIdentifier, renaming, replacing, textLiteral } from '../../domain/sql-text.ts'
import { batchKey, type NotFound } from '../../domain/model/batch-spec.ts'
import { DomainError, isError, reasonOf } from '../../domain/errors.ts'
import { renamedColumns, sentFeatures } from '../../domain/model/features.ts'
import { computedColumns, withComputed } from '../../domain/model/prepare.ts'
import { issueOfPrepare } from '../data/prepared-rows.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { counted } from '../../domain/figures.ts'
import { compileReview } from '../../domain/review/band.ts'
import { freezeInput, type Batch } from '../../store/serving/batches.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Deps } from '../deps.ts'
import { queryReader } from '../../store/integrations/metric-sources.ts'
import type { Duck } from '../data/duckdb.ts'
import { badValueOf, doubleOf, readAs, refusedColumnIssue } from '../../domain/values/readings.ts'
import { asRefused, isQueryRefused, withoutPaths } from '../data/source-errors.ts'
import { loadFromPostgres } from '../data/known-rows.ts'
import { explainRows } from '../data/explain-rows.ts'
import { parquetColumns, type ParquetColumn } from '../data/parquet-files.ts'
import { columnTypes } from '../data/rows.ts'
import { scanFile } from '../data/source-files.ts'
import { readCsv as readCsvFile, type SourceFile } from '../data/source-views.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { withLookups } from '../../models/define/data/as-of-join.ts'
import { readNow } from '../../store/database/clock.ts'
import { findView } from '../../store/features/feature-views.ts'
import type { Store } from '../../store/postgres.ts'
import { loadHistory } from '../features/feature-history.ts'

/** Throws `invalid_request` for missing columns, a file that cannot be read and a query that Postgres refuses. */
export async function freezeBatch(
  { store, artifacts, config }: Deps,
  duck: Duck,
  { batch, manifest, subjectKey }: { batch: Batch; manifest: Manifest; subjectKey: SubjectKey | undefined },
): Promise<{ path: string; rows: number; notFound?: NotFound[] }> {
  const { inputDigest, rows: frozenRows } = batch
  if (inputDigest !== undefined && frozenRows !== undefined)
    return {
      path: await artifacts.locate('snapshots', inputDigest),
      rows: frozenRows,
      notFound: batch.notFound,
    }
  const { input } = batch
  const draft = await artifacts.draft('.parquet')
  const what = input.kind === 'file' ? input.path : 'the query'
  const given = input.kind === 'file' ? await openInput({ artifacts, config }, input.path) : ''
  const refuse = refuseInput(what, given === '' ? [draft] : [given, draft])
  let notFound: NotFound[] | undefined
  let file: SourceFile | undefined
  const explain = async (error: unknown): Promise<never> => {
    const reason = reasonOf(error)
    if (badValueOf(reason) === undefined && refusedColumnIssue(reason) === undefined) throw error
    const source = { kind: 'csv', files: { file: given }, rows: '' } as const
    return refuse(await explainRows({ duck, source, files: file === undefined ? [] : [file] }, error))
  }
  const write = async (rows: string): Promise<void> => {
    await duck
      .run(
        `create temp view given as ${await withNumbers(duck, await renamed(duck, `(${rows})`, manifest), manifest)}`,
      )
      .catch(refuse)
    notFound = await joinLookups(store, duck, manifest, subjectKey).catch(explain)
    await checkColumns(duck, { manifest, output: batch.output })
    await duck
      .run(
        `copy (${await computed(duck, manifest)}) to ${textLiteral(draft)} (format parquet, compression zstd)`,
      )
      .catch(explain)
      .catch(refuse)
  }
  if (input.kind === 'sql') {
    await loadFromPostgres(duck, input.query, queryReader(store, input.database), {
      texts: [...namesOf(batch, manifest), ...textsOf(manifest)],
    }).catch((error: unknown) => (isError(error, 'source_unreadable') ? refuse(error) : refuseQuery(error)))
    // The history of looked-up features is loaded through a table of this name.
    await duck.run('alter table known rename to asked')
    await write('select * from asked')
  } else if (input.path.endsWith('.csv')) {
    const columns = { names: namesOf(batch, manifest), key: batch.output.key }
    const read = await readCsv(duck, given, manifest, columns).catch(refuse)
    file = read.file
    await write(read.query)
  } else {
    const [columns = []] = await parquetColumns(duck, [given]).catch(refuse)
    const renames = renamedColumns(manifest.features)
    const needed = [...Object.keys(manifest.features), ...renames.map(([name]) => name), ...batch.output.key]
    const read = columns.filter((each) => each.read !== undefined && needed.includes(each.name))
    file = { name: 'file', file: given, place: given, columns }
    const isNumberText = ({ name, type }: ParquetColumn) =>
      type === textType && manifest.features[name]?.kind === 'number'
    const isComputed = computedColumns(manifest.features).length > 0
    if (read.length > 0 || renames.length > 0 || columns.some(isNumberText) || isComputed) {
      const replaced = read.map((each) => `${each.read} as ${quotedIdentifier(each.name)}`)
      await write(`select *${replacing(replaced)} from read_parquet(${textLiteral(given)})`)
    } else {
      // Copies the file unchanged, because rewriting it takes as long as scoring it.
      await copyFile(given, draft).catch(refuse)
      await duck
        .run(`create temp view given as select * from read_parquet(${textLiteral(draft)})`)
        .catch(refuse)
      notFound = await joinLookups(store, duck, manifest, subjectKey)
      await checkColumns(duck, { manifest, output: batch.output })
      if (notFound !== undefined)
        await duck.run(
          `copy (select * from given) to ${textLiteral(draft)} (format parquet, compression zstd)`,
        )
    }
  }
  const [counted] = await duck
    .rows<{ n: number }>(`select count(*) as n from read_parquet(${textLiteral(draft)})`)
    .catch(refuse)
  const rows = counted?.n ?? 0
  await duck.run('drop view given')
  const { digest } = await artifacts.take('snapshots', draft)
  await freezeInput(store, { id: batch.id, digest, rows, notFound })
  if (input.kind === 'file' && given !== join(config.batchDir, input.path)) await rm(given, { force: true })
  return { path: await artifacts.locate('snapshots', digest), rows, notFound }
}

/** The columns of a batch that name a row or what is looked up, and are no numbers of the model. */
const namesOf = ({ output }: Batch, { features }: Manifest): string[] =>
  [...output.key, ...Object.values(features).flatMap(({ from }) => from?.by ?? [])].filter(
    (name) => features[name]?.kind !== 'number',
  )

/** The features of a batch that are read as texts. */
const textsOf = ({ features }: Manifest): string[] =>
  Object.entries(features).flatMap(([name, { kind, column }]) =>
    kind === 'number' ? [] : [name, ...(column === undefined ? [] : [column])],
  )

/** Rows with the names of features where they have those of the columns in files. */
async function renamed(duck: Duck, rows: string, { features }: Manifest): Promise<string> {
  const declared = renamedColumns(features)
  if (declared.length === 0) return rows
  const names = [...(await columnTypes(duck, rows)).keys()].map((name) => name.toLowerCase())
  const has = (name: string) => names.includes(name.toLowerCase())
  const found = declared.filter(([column, name]) => has(column) && !has(name))
  return found.length === 0 ? rows : `(select *${renaming(found)} from ${rows})`
}

/** Rows whose texts in columns of numbers are read as training reads them. A text that is no number raises an error that names it. */
async function withNumbers(duck: Duck, rows: string, { features }: Manifest): Promise<string> {
  const numbers = [...(await columnTypes(duck, rows))].flatMap(([name, type]) =>
    type === 'VARCHAR' && features[name]?.kind === 'number'
      ? [`${readAs('number', name)} as ${quotedIdentifier(name)}`]
      : [],
  )
  return `select *${replacing(numbers)} from ${rows}`
}

/**
 * Rows with the computed columns, which replace columns of the same names. Throws `artifact_invalid` for expressions that may not run, as in
 * a replica, because this database reads files.
 */
async function computed(duck: Duck, { features }: Manifest): Promise<string> {
  const columns = computedColumns(features)
  if (columns.length === 0) return 'select * from given'
  const issue = await issueOfPrepare(features)
  if (issue !== undefined) throw new DomainError('artifact_invalid', issue)
  const names = columns.map(({ name }) => name.toLowerCase())
  const replaced = [...(await columnTypes(duck, 'given')).keys()].filter((name) =>
    names.includes(name.toLowerCase()),
  )
  const typed = Object.entries(sentFeatures(features)).map(([name, { kind }]) => {
    const value = kind === 'number' ? doubleOf(name) : `cast(${quotedIdentifier(name)} as varchar)`
    return `${value} as ${quotedIdentifier(name)}`
  })
  const others = replaced.length === 0 ? '' : ` exclude (${replaced.map(quotedIdentifier).join(', ')})`
  // The other columns keep their types, as those of the key.
  const rows = `select ${typed.join(', ')}, _row from (select *${others} from given) as _row`
  return `select unnest(_row), ${columns.map(({ name }) => quotedIdentifier(name)).join(', ')} from (${withComputed(features, rows)})`
}

/** Opens a file in the directory for batches, or else a copy from the object store. Throws `invalid_request` when neither exists. */
async function openInput(
  { artifacts, config }: Pick<Deps, 'artifacts' | 'config'>,
  name: string,
): Promise<string> {
  const path = join(config.batchDir, name)
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => error.code)
  const isAbsent = found === 'ENOENT' || found === 'ENOTDIR'
  // Another error surfaces with its reason when the file is read.
  if (!isAbsent && (typeof found !== 'object' || found.isFile())) return path
  const copy = await artifacts.draft(extname(name))
  if ((await artifacts.objects?.download(batchKey(name), copy)) !== undefined) return copy
  const place = 'in the directory for batches (TENURE_BATCHES, by default `batches` in the state directory)'
  throw new DomainError(
    'invalid_request',
    isAbsent ? `there is no file ${name} ${place}` : `${name} ${place} is not a file`,
  )
}

/** Reads everything as text, because `007` differs from `7`, `yes` from `true` and `0x10` from 16; but keeps keys of whole numbers. */
async function readCsv(
  duck: Duck,
  path: string,
  { features }: Manifest,
  { names, key }: { names: readonly string[]; key: readonly string[] },
): Promise<{ query: string; file: SourceFile }> {
  const numbers = Object.entries(features).flatMap(([name, { kind, column = name }]) =>
    kind === 'number' ? [name, column] : [],
  )
  const file = await scanFile(path, Object.fromEntries(numbers.map((name) => [name, 'number'])))
  const { layout } = file
  const rows = readCsvFile(path, layout, ', all_varchar=true')
  const whole = await wholeColumns(
    duck,
    rows,
    key.filter((name) => names.includes(name) && layout.names.includes(name)),
  )
  const casts = whole.map((name) => `cast(${quotedIdentifier(name)} as bigint) as ${quotedIdentifier(name)}`)
  return { query: `select *${replacing(casts)} from ${rows}`, file }
}

/** The columns of texts that are whole numbers as a number is written: `7`, but not `007`. */
async function wholeColumns(duck: Duck, rows: string, names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return []
  const tests = names.map((name, at) => {
    const column = quotedIdentifier(name)
    return `bool_and(${column} is null or coalesce(cast(try_cast(${column} as bigint) as varchar) = ${column}, false)) as "${at}"`
  })
  const [found] = await duck.rows<Record<string, boolean | null>>(`select ${tests.join(', ')} from ${rows}`)
  return names.filter((_, at) => found?.[at] === true)
}

const refuseInput = (what: string, paths: readonly string[]) => (error: unknown) => {
  if (!isError(error, 'source_unreadable')) throw asRefused(what, error, paths)
  throw new DomainError('invalid_request', withoutPaths(what, error.message, paths))
}

/** Any other error of the database, such as a lost connection, is temporary. */
const refuseQuery = (error: unknown) => {
  throw isQueryRefused(error) ? asRefused('the query', error) : error
}

const numberType = /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$/

async function checkColumns(
  duck: Duck,
  { manifest, output: { kind, key, log = 0 } }: { manifest: Manifest; output: Batch['output'] },
): Promise<void> {
  const types = await columnTypes(duck, 'given')
  const sent = sentFeatures(manifest.features)
  const absent = [...Object.keys(sent), ...key].filter((name) => !types.has(name))
  const issues = absent.map(
    (name) => `the column ${JSON.stringify(manifest.features[name]?.column ?? name)} is missing`,
  )
  for (const [name, { kind }] of Object.entries(sent)) {
    const type = types.get(name)
    if (kind === 'number' && type !== undefined && type !== 'BOOLEAN' && !numberType.test(type))
      issues.push(`the column ${JSON.stringify(name)} has the type ${type}, expected a number`)
  }
  // A part with such a text could never be stored.
  const stored = kind === 'table' || log > 0 ? key.filter((name) => types.get(name) === 'VARCHAR') : []
  for (const [name, rows] of await countUnstorable(duck, stored))
    if (rows > 0)
      issues.push(
        `the key ${JSON.stringify(name)} has U+0000 in ${counted(rows, 'row')}, which Postgres cannot store: remove it from the texts`,
      )
  if (key.includes('review') && compileReview(manifest.output) !== undefined)
    issues.push('the output has a column "review" of its own: rename that of the key')
  if (issues.length > 0)
    throw new DomainError('invalid_request', `the input does not fit: ${issues.join('; ')}`, { issues })
}

/** How many texts of these columns of the input have U+0000. */
async function countUnstorable(
  duck: Duck,
  names: readonly string[],
): Promise<(readonly [name: string, rows: number])[]> {
  if (names.length === 0) return []
  const counts = names.map((name, at) => `count_if(contains(${quotedIdentifier(name)}, chr(0))) as "${at}"`)
  const [row] = await duck.rows<Record<string, number>>(`select ${counts.join(', ')} from given`)
  return names.map((name, at) => [name, row?.[at] ?? 0] as const)
}

// Joins looked-up features to the rows of a batch, with the values known when the batch starts.

/** The column that holds the request time. */
const askedAt = '_asked_at'
/** The column that identifies a row by its order, for a batch without a key. */
const place = '_place'

/**
 * Adds the looked-up features to the view `given` and keeps columns that it already has. Returns those with rows for which nothing was
 * found; undefined when none was joined. Throws `invalid_request` for a row that names no entity and for an unknown view.
 */
async function joinLookups(
  store: Store,
  duck: Duck,
  { features }: Pick<Manifest, 'features'>,
  subjectKey: SubjectKey | undefined,
): Promise<NotFound[] | undefined> {
  const looked = Object.entries(features).filter(([, { from }]) => from !== undefined)
  if (looked.length === 0) return undefined
  const has = new Set(
    (await duck.rows<{ column_name: string }>('describe given')).map(({ column_name: name }) => name),
  )
  const lacking = looked.filter(([name]) => !has.has(name))
  if (lacking.length === 0) return undefined
  const origins = lacking.map(([, { from }]) => from!)
  const fields = [...new Set(origins.flatMap(({ by }) => by))].filter((field) => !has.has(field))
  const issues = fields.map(
    (field) => `the column ${JSON.stringify(field)} is missing: it names what is looked up`,
  )
  const digests = [...new Set(origins.map(({ digest }) => digest))]
  const stored = await Promise.all(digests.map((digest) => findView(store, digest)))
  const views = stored.flatMap((each) => (each === undefined ? [] : [each.definition]))
  if (views.length < digests.length)
    issues.push('a feature view of the version is not stored here: run `tenure models sync`')
  if (issues.length > 0)
    throw new DomainError('invalid_request', `the input does not fit: ${issues.join('; ')}`, { issues })
  const asOfMs = Math.floor(await readNow(store))
  const oldestMs = Math.max(...origins.map(({ timeToLiveMs }) => timeToLiveMs))
  const definition = {
    // What stands in for a missing value is filled in after the count.
    features: Object.fromEntries(
      lacking.map(([name, feature]) => [
        name,
        { ...feature, from: { ...feature.from, otherwise: undefined } },
      ]),
    ),
    source: { eventTime: askedAt },
    views,
  } as unknown as ModelDefinition
  await loadHistory(duck, store, definition, { sinceMs: asOfMs - oldestMs, asOfMs, subjectKey })
  const asked = `select *, row_number() over () as ${place}, make_timestamp(${asOfMs}000) as ${askedAt} from given`
  await duck.run(
    `create temp table _joined as select * exclude (${askedAt}, ${place}) from (${withLookups(definition, asked)}) order by ${place}`,
  )
  const notFound = await countNotFound(
    duck,
    lacking.map(([name]) => name),
  )
  const filled = lacking.flatMap(([name, { from }]) => {
    const { otherwise } = from!
    if (otherwise === undefined) return []
    const standIn = typeof otherwise === 'string' ? textLiteral(otherwise) : String(otherwise)
    return [`coalesce(${quotedIdentifier(name)}, ${standIn}) as ${quotedIdentifier(name)}`]
  })
  await duck.run(`create or replace temp view given as select *${replacing(filled)} from _joined`)
  return notFound
}

async function countNotFound(duck: Duck, features: readonly string[]): Promise<NotFound[]> {
  const counts = features.map((name, at) => `count(*) - count(${quotedIdentifier(name)}) as "${at}"`)
  const [found] = await duck.rows<Record<string, number>>(`select ${counts.join(', ')} from _joined`)
  return features
    .map((feature, at) => ({ feature, rows: Number(found?.[at] ?? 0) }))
    .filter(({ rows }) => rows > 0)
}
