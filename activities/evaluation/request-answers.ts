/** Asks a version and its parent logged requests, which have no labels, in their order: those that the time allows are a sample as well. */
import { isError } from '../../domain/errors.ts'
import type { RowSlice } from '../../domain/evaluation/slices.ts'
import { answeredRows, answerReader, type ModelAnswers } from '../../domain/metrics/answers.ts'
import { cellOf, pickCells, requireColumn, type ColumnTable } from '../../domain/model/columns.ts'
import { sentFeatures } from '../../domain/model/features.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
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
  parent: number[][]
  child: number[][]
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

/**
 * Rows that the parent refuses are left out with those of their chunk; a child that refuses what its parent answers throws. Throws
 * `artifact_corrupt` without the file.
 */
export async function askRequests(
  versions: VersionAnswers,
  { parent, child }: { parent: string; child: string },
  {
    requests,
    definition: { evaluation },
    limitMs = askMs,
  }: { requests: LoggedRequests; definition: Pick<ModelDefinition, 'evaluation'>; limitMs?: number },
): Promise<RequestAnswers> {
  const found: RequestAnswers = {
    asked: { ...requests, answered: 0 },
    parent: [],
    child: [],
    ids: [],
    entities: [],
    slices: [],
  }
  if (requests.digest === undefined) return found
  const { features } = await versions.manifestOf(parent)
  const { entity } = evaluation
  const path = await versions.artifacts.locate('snapshots', requests.digest)
  const source = `${textLiteral(path)} where true`
  const { id, caller } = requestColumns
  const names = [...Object.keys(sentFeatures(features)), id, caller]
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
  const chunkOf = ({ from, rows }: { from: number; rows: number }): ColumnTable => {
    const places = placesOf({ from, rows })
    const columns = Object.entries(table.columns).map(([name, column]) => [name, pickCells(column, places)])
    return { rows, columns: Object.fromEntries(columns) as ColumnTable['columns'] }
  }
  const isLate = (startedMs: number): boolean => {
    if (performance.now() - startedMs <= limitMs) return false
    found.asked.limitMs = limitMs
    return true
  }
  // One after the other: the process that answers holds one version, and opens one of Python for seconds.
  const answered: { from: number; rows: number; answers: number[][] }[] = []
  const parentMs = performance.now()
  for (let [from, size] = [0, firstRows]; from < table.rows && !isLate(parentMs);) {
    const askedMs = performance.now()
    const chunk = { from, rows: Math.min(size, table.rows - from) }
    try {
      answered.push({ ...chunk, answers: listAnswers(await versions.ask(parent, chunkOf(chunk))) })
    } catch (error) {
      const rows = (found.asked.refused?.rows ?? 0) + chunk.rows
      // A message may quote a logged value, which would outlive an erasure in the report.
      found.asked.refused = { rows, why: isError(error) ? error.code : (error as Error).name }
    }
    from += chunk.rows
    const tookMs = Math.max(1, performance.now() - askedMs)
    size = Math.min(maxChunkRows, Math.max(1, Math.floor((chunk.rows * chunkMs) / tookMs)))
  }
  const taken: number[] = []
  const childMs = performance.now()
  for (const { answers, ...chunk } of answered) {
    if (isLate(childMs)) break
    found.child.push(...listAnswers(await versions.ask(child, chunkOf(chunk))))
    found.parent.push(...answers)
    taken.push(...placesOf(chunk))
  }
  found.asked.answered = taken.length
  for (const row of taken) {
    const own = entities && cellOf(entities, row)
    found.ids.push(String(cellOf(ids, row)))
    found.entities.push(own == null ? `caller ${cellOf(callers, row)}` : entityKey(own))
  }
  found.slices = members.flatMap(({ name, hits }) =>
    hits === undefined
      ? []
      : [{ name, rows: Uint32Array.from(taken.flatMap((row, at) => (hits[row] === 1 ? [at] : []))) }],
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
