/**
 * Writes a sample of the logged requests of a model to a file of the artifact store, so that versions can be asked them again, and a
 * verdict on their answers can be computed again after the log has forgotten them.
 */
import {
  partOfCaller,
  requestColumns,
  type LoggedRequests,
  type RequestPart,
} from '../../domain/training/logged-requests.ts'
import { digestReason, isLoggedDigest, readLoggedRows } from '../../domain/model/logged-rows.ts'
import { sentFeatures, type Features } from '../../domain/model/features.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { quotedIdentifier, textLiteral } from '../../domain/sql-text.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { readEach } from '../../store/database/cursor.ts'
import type { Store } from '../../store/postgres.ts'
import type { SubjectKey } from '../../store/signing/subject-hash.ts'
import {
  listLoggedVersions,
  loggedRequestsQuery,
  type LoggedRequest,
  type LoggedSpan,
} from '../../store/training/served-requests.ts'
import { withDuck } from '../data/duckdb.ts'
import { columnTypes } from '../data/rows.ts'
import { settleSubjects, type SettledSubjects } from '../privacy/data-subjects.ts'
import { isLacking, missingIn } from './served-rows.ts'

/** Which requests are written, and which of their columns. */
export interface LoggedSample extends Omit<LoggedSpan, 'model'> {
  definition: Pick<ModelDefinition, 'name' | 'subject'> & {
    evaluation: Pick<ModelDefinition['evaluation'], 'entity'>
  }
  /** Of the version that is asked. */
  features: Features
  maxRows: number
  /** Default: both. */
  part?: RequestPart
  /** The version whose logged answers are written with the requests. */
  answers?: {
    of: string
    /** Requests that other versions have answered are left out. */
    alone: boolean
  }
}

export interface WrittenRequests extends LoggedRequests, Partial<SettledSubjects> {
  bytes: number
  /** Name → DuckDB type, in the order of the file. */
  columns: Record<string, string>
}

/** Of the inputs as they are logged. Limits the memory, because a request may hold images. */
const maxBytes = 128 * 1024 * 1024
/** The time limit of the first rows, for which the log of the period is read. */
const readMs = 600_000

/**
 * Each request gives the same share of its instances, so that a large one does not fill the sample. A model whose subject is no feature has
 * its routing keys as subjects.
 */
export async function writeLoggedRequests({
  definition,
  features,
  maxRows,
  part,
  answers,
  store,
  artifacts,
  subjectKey,
  ...span
}: LoggedSample & { store: Store; artifacts: Artifacts; subjectKey: SubjectKey }): Promise<WrittenRequests> {
  const { name: model, subject, evaluation } = definition
  const { entity } = evaluation
  const sent = Object.entries(sentFeatures(features))
  const leftOut: string[] = []
  const usable = new Map<string, Awaited<ReturnType<typeof listLoggedVersions>>[number]>()
  for (const each of await listLoggedVersions(store, { model, ...span })) {
    const missing = missingIn(each, features)
    const lacking = missing.lacks ?? []
    if (missing.digested !== undefined)
      leftOut.push(`those that ${each.version} answered are left out: ${digestReason(missing.digested)}`)
    else if (isLacking({ predictions: 0, rows: 0, ...missing }, features))
      leftOut.push(
        `those that ${each.version} answered are left out: they have no ${lacking.map((name) => `"${name}"`).join(', ')}`,
      )
    else if (answers?.alone === true && each.version !== answers.of)
      leftOut.push(
        `those that ${each.version} answered are left out: asking ${answers.of} again may cost money`,
      )
    else usable.set(each.version, each)
  }
  const nothing = { ...span, rows: 0, leftOut, bytes: 0, columns: {} }
  if (usable.size === 0) return nothing
  return withDuck(async (duck) => {
    const isSent = sent.some(([name]) => name === entity)
    const isKeyed = subject !== undefined && !sent.some(([name]) => name === subject)
    const columns = [
      ...sent.map(
        ([name, { kind }]) => `${quotedIdentifier(name)} ${kind === 'number' ? 'double' : 'varchar'}`,
      ),
      ...(isKeyed ? [`${quotedIdentifier(subject)} varchar`] : []),
      `${requestColumns.id} varchar, ${requestColumns.caller} bigint`,
      ...(answers === undefined ? [] : [`${requestColumns.answer} varchar`]),
    ]
    // The name that `settleSubjects` reads.
    await duck.run(`create temp table known (${columns.join(', ')})`)
    const appender = await duck.connection.createAppender('known')
    const callers = new Map<string, number>()
    let rows = 0
    // Half of the requests are those of one part.
    const drawn = part === undefined ? maxRows : 2 * maxRows
    const append = ({
      id,
      version,
      routingKey,
      instances,
      total,
      start,
      features: bytes,
      outputs,
    }: LoggedRequest) => {
      const logged = readLoggedRows(bytes, usable.get(version)!.fits ?? [], instances)
      if (logged === undefined) return
      const width = (outputs?.length ?? 0) / instances
      const key = routingKey === null ? `request ${id}` : `key ${routingKey}`
      const caller = callers.get(key) ?? callers.size
      callers.set(key, caller)
      const step = Math.max(1, total / drawn)
      for (let nth = 0; rows < maxRows; nth++) {
        const place = Math.floor((nth + start) * step)
        if (place >= instances) return
        const row = logged[place]!
        if (sent.some(([name]) => isLoggedDigest(row[name]))) continue
        const drawnBy = (isSent ? row[entity!] : null) ?? routingKey ?? id
        if (part !== undefined && partOfCaller(String(drawnBy)) !== part) continue
        for (const [name, { kind }] of sent) {
          const value = row[name] ?? null
          if (value === null) appender.appendNull()
          else if (kind === 'number') appender.appendDouble(Number(value))
          else appender.appendVarchar(String(value))
        }
        if (isKeyed)
          if (routingKey === null) appender.appendNull()
          else appender.appendVarchar(routingKey)
        appender.appendVarchar(`${id.slice(0, -4)}${place.toString(16).padStart(4, '0')}`)
        appender.appendBigInt(BigInt(caller))
        if (answers !== undefined) {
          const answer = outputs?.slice(place * width, (place + 1) * width) ?? []
          if (answer.length > 0 && answer.every(Number.isFinite))
            appender.appendVarchar(JSON.stringify(answer))
          else appender.appendNull()
        }
        appender.endRow()
        rows++
      }
    }
    const limits = { maxRequests: drawn, maxBytes, answersOf: answers?.of }
    await readEach(store, loggedRequestsQuery({ model, ...span }, [...usable.keys()], limits), append, readMs)
    appender.closeSync()
    const settled = await settleSubjects(duck, { store, artifacts }, definition, {
      subjectKey,
      exactNumbers: [],
    })
    const [left] = await duck.rows<{ n: number }>('select count(*) as n from known')
    if (left!.n === 0) return nothing
    const draft = await artifacts.draft('.parquet')
    const chosen = isKeyed ? `* exclude (${quotedIdentifier(subject)})` : '*'
    await duck.run(
      `copy (select ${chosen} from known) to ${textLiteral(draft)} (format parquet, compression zstd)`,
    )
    const types = Object.fromEntries(await columnTypes(duck, textLiteral(draft)))
    const { digest, bytes } = await artifacts.take('snapshots', draft)
    return { ...nothing, ...settled, digest, bytes, rows: left!.n, columns: types }
  })
}
