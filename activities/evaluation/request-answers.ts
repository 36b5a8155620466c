/**
 * Asks a version and its parent rows of which they may refuse some: a refused row alone is without an answer. Logged requests have no
 * labels; they are asked in their order, so those that the time allows are a sample as well.
 */
import { isError } from '../../domain/errors.ts'
import { groupedDigits } from '../../domain/figures.ts'
import type { RowSlice } from '../../domain/evaluation/slices.ts'
import { answeredRows, answerReader, type ModelAnswers } from '../../domain/metrics/answers.ts'
import { outputWidth } from '@tenure/predictors/features'
import { isRemote } from '@tenure/predictors/format-names'
import { maxAskedRows } from '../../domain/model/compression.ts'
import { cellOf, pickRows, requireColumn, type ColumnTable } from '../../domain/model/columns.ts'
import { sentFeatures } from '../../domain/model/features.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { shown } from '../../domain/postgres-text.ts'
import { textLiteral } from '../../domain/sql-text.ts'
import {
  requestColumns,
  type AskedRequests,
  type LoggedRequests,
} from '../../domain/training/logged-requests.ts'
import { withDuck } from '../data/duckdb.ts'
import { readDoubles, readTable } from '../data/rows.ts'
import type { VersionAnswers } from './version-answers.ts'

export interface RequestAnswers {
  asked: AskedRequests
  /** NaN for a row that was refused; the child is not asked one that the parent refuses. */
  parent: number[][]
  child: number[][]
  /** Why, by the place of the row. */
  refusals: Record<'parent' | 'child', Map<number, string>>
  /** The prediction of each row. */
  ids: string[]
  /** Who asked: the model's entity where it is logged, else the routing key, else the request. */
  entities: string[]
  /** The rows of each declared slice whose columns are logged. */
  slices: RowSlice[]
}

/** Rows of the first question, and of the largest. */
const firstRows = 100
const maxChunkRows = 2_000
/** The time that a question should take: the process that answers has a limit for each. */
const chunkMs = 10_000
const askMs = 600_000
/** A version that has refused so many rows is not asked more: each refusal may end the process that answers. */
const maxRefused = 100

/** A message may quote a value of the row, which would outlive an erasure in the report; its code does not. */
const codeOf = (error: unknown): string => (isError(error) ? error.code : (error as Error).name)

export interface RowAnswers {
  /** In the order of the rows, as far as they were asked; NaN for a refused row. */
  answers: number[][]
  /** Why a row was refused, by its place. */
  refused: Map<number, string>
  /** Why the rows after them were not asked; absent when all were. */
  unasked?: string
}

interface Asking {
  /** Who answers, in `unasked`. */
  name: string
  /** Numbers of an answer. */
  width: number
  limitMs?: number
  /** The most rows of all questions together, repeated ones included. */
  mostRows?: number
  /** The text that is kept of an error. Default: its code. */
  wordsOf?: (error: unknown) => string
}

/**
 * Asks rows in their order, one question after the other. Of rows that are refused together, half are asked, then half of the rest, until the
 * refused row is alone.
 */
export async function askRows(
  ask: (rows: ColumnTable) => Promise<ModelAnswers>,
  table: ColumnTable,
  { name, width, limitMs = askMs, mostRows = Infinity, wordsOf = codeOf }: Asking,
): Promise<RowAnswers> {
  const { answers, refused }: RowAnswers = { answers: [], refused: new Map() }
  const names = Object.keys(table.columns)
  const startedMs = performance.now()
  // Of the next rows, `suspects` have been refused together; 0 for none.
  let [size, suspects, asked] = [firstRows, 0, 0]
  while (answers.length < table.rows) {
    const from = answers.length
    const rows = Math.min(suspects === 0 ? size : Math.max(1, suspects >> 1), table.rows - from)
    const unasked =
      performance.now() - startedMs > limitMs
        ? `would have taken longer than ${limitMs / 60_000} min`
        : refused.size >= maxRefused
          ? `were not asked, because ${name} has refused ${maxRefused} rows`
          : asked + rows > mostRows
            ? `were not asked: ${name} is asked at most ${groupedDigits(mostRows)} rows`
            : undefined
    if (unasked !== undefined) return { answers, refused, unasked: `the others ${unasked}` }
    asked += rows
    const askedMs = performance.now()
    try {
      answers.push(...listAnswers(await ask(pickRows(table, names, placesOf({ from, rows })))))
    } catch (error) {
      // No row can be asked of a version whose files are damaged or gone.
      if (isError(error) && error.code === 'artifact_corrupt') throw error
      suspects = rows === 1 ? 0 : rows
      if (rows > 1) continue
      refused.set(from, wordsOf(error))
      answers.push(unanswered(width))
      size = Math.max(1, size >> 1)
      continue
    }
    if (suspects > 0) {
      suspects -= rows
      continue
    }
    const tookMs = Math.max(1, performance.now() - askedMs)
    size = Math.max(1, Math.min(maxChunkRows, 2 * rows, Math.floor((rows * chunkMs) / tookMs)))
  }
  return { answers, refused }
}

/**
 * Asks a compressed version and its parent by and by where they refuse some of the test rows. A row that is refused or not asked has NaN as
 * its answer. Throws what a parent throws that answers none.
 */
export function withRefusals(
  versions: VersionAnswers,
  refusals: Map<string, RowAnswers>,
  {
    parent,
    child,
    definition,
  }: { parent: string; child: string; definition: Pick<ModelDefinition, 'subject' | 'source'> },
): VersionAnswers {
  return {
    ...versions,
    ask: (digest, rows, options) =>
      versions.ask(digest, rows, options).catch(async (error: unknown) => {
        if (digest !== child && digest !== parent) throw error
        const width = outputWidth((await versions.manifestOf(digest)).output)
        const found = await askRows((some) => versions.ask(digest, some, options), rows, {
          name: digest === parent ? 'the parent' : 'this version',
          width,
          // Each answer of an endpoint may cost money.
          mostRows: 2 * rows.rows,
          wordsOf: (each) => reportedText(definition, each),
        })
        if (digest === parent && found.refused.size === found.answers.length) throw error
        refusals.set(digest, found)
        const unasked = Array.from({ length: rows.rows - found.answers.length }, () => unanswered(width))
        return [...found.answers, ...unasked]
      }),
  }
}

/**
 * What a report says of an error: its code, and the first line of its message where that may be quoted. Reports outlive erasures, so they may
 * not show what a message quotes of data subjects or of requests.
 */
export function reportedText(
  { subject, source }: Pick<ModelDefinition, 'subject' | 'source'>,
  error: unknown,
): string {
  const code = codeOf(error)
  if (subject !== undefined || source.served !== undefined) return code
  return `${code}: ${shown((error instanceof Error ? error.message : String(error)).split('\n')[0])}`
}

const unanswered = (width: number): number[] => Array.from({ length: width }, () => NaN)

/** Throws `artifact_corrupt` without the file. */
export async function askRequests(
  versions: VersionAnswers,
  { parent, child }: { parent: string; child: string },
  {
    requests,
    definition: { evaluation },
    limitMs,
  }: { requests: LoggedRequests; definition: Pick<ModelDefinition, 'evaluation'>; limitMs?: number },
): Promise<RequestAnswers> {
  const found: RequestAnswers = {
    asked: { ...requests, answered: 0 },
    parent: [],
    child: [],
    refusals: { parent: new Map(), child: new Map() },
    ids: [],
    entities: [],
    slices: [],
  }
  if (requests.digest === undefined) return found
  const manifest = await versions.manifestOf(parent)
  const { entity } = evaluation
  const path = await versions.artifacts.locate('snapshots', requests.digest)
  const source = `${textLiteral(path)} where true`
  const { id, caller } = requestColumns
  const names = [...Object.keys(sentFeatures(manifest.features)), id, caller]
  const { table, members } = await withDuck(async (duck) => ({
    table: await readTable(duck, source, names),
    members: await Promise.all(
      evaluation.slices.map(async ({ name, where }) => ({
        name,
        // The log may lack a column of the slice.
        hits: await readDoubles(duck, `select coalesce((${where}), false) from ${source}`).catch(
          () => undefined,
        ),
      })),
    ),
  }))
  const [ids, callers] = [requireColumn(table, id), requireColumn(table, caller)]
  const entities = entity === undefined ? undefined : table.columns[entity]
  // One after the other: the process that answers holds one version, and opens one of Python for seconds.
  const asking = { width: outputWidth(manifest.output), limitMs }
  const first = await askRows((rows) => versions.ask(parent, rows), table, {
    ...asking,
    name: 'the parent',
    // Each answer may cost money.
    mostRows: isRemote(manifest) ? maxAskedRows(manifest) : undefined,
  })
  const places = Uint32Array.from(first.answers.keys()).filter((row) => !first.refused.has(row))
  const second = await askRows((rows) => versions.ask(child, rows), pickRows(table, names, places), {
    ...asking,
    name: 'this version',
  })
  // All rows before one that the child was not asked any more.
  const taken = places[second.answers.length] ?? first.answers.length
  found.parent = first.answers.slice(0, taken)
  found.child = found.parent.map((answer) => answer.map(() => NaN))
  second.answers.forEach((answer, at) => (found.child[places[at]!] = answer))
  for (const [row, why] of first.refused) if (row < taken) found.refusals.parent.set(row, why)
  for (const [at, why] of second.refused) found.refusals.child.set(places[at]!, why)
  found.asked.answered = second.answers.length
  const unasked = second.unasked ?? first.unasked
  if (unasked !== undefined) found.asked.unasked = unasked
  for (let row = 0; row < taken; row++) {
    const own = entities && cellOf(entities, row)
    found.ids.push(String(cellOf(ids, row)))
    found.entities.push(own == null ? `caller ${cellOf(callers, row)}` : entityKey(own))
  }
  const kept = placesOf({ from: 0, rows: taken })
  found.slices = members.flatMap(({ name, hits }) =>
    hits === undefined ? [] : [{ name, rows: kept.filter((row) => hits[row] === 1) }],
  )
  return found
}

const placesOf = ({ from, rows }: { from: number; rows: number }): Uint32Array =>
  Uint32Array.from({ length: rows }, (_, row) => from + row)

/** An entity of a test row and of a request are one. */
export const entityKey = (entity: string | number): string => `entity ${entity}`

export function listAnswers(answers: ModelAnswers): number[][] {
  const rowAt = answerReader(answers)
  return Array.from({ length: answeredRows(answers) }, (_, row) => [...rowAt(row)])
}
