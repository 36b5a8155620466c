/**
 * Takes a snapshot of a model's rows as they were known at a time, so that no training sees later knowledge and every training can be
 * repeated.
 */
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import { DomainError } from '../../domain/errors.ts'
import { firstNeededMs, planRows, snapshotQuery } from '../../models/define/data/query.ts'
import type { Artifacts } from '../../store/artifacts.ts'
import { getModel } from '../../store/registry/models.ts'
import { openSigner } from '../../store/signing/signing-key.ts'
import { insertSnapshot } from '../../store/training/snapshots.ts'
import { subjectKeyOf, type SubjectKey } from '../../store/signing/subject-hash.ts'
import type { Store } from '../../store/postgres.ts'
import { checkout } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'
import { literal, withDuck, type Duck } from '../data/duckdb.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { loadHistory } from '../features/feature-history.ts'
import { loadRowsAsOf } from '../data/known-rows.ts'
import { settleSubjects } from '../privacy/data-subjects.ts'
import { digestOfSource } from '../data/source-digest.ts'
import { asUnreadable } from '../data/source-errors.ts'

export interface SnapshotInput {
  model: string
  /** ISO 8601. */
  asOf: string
}

export interface SnapshotResult {
  digest: string
  rows: { train: number; test: number }
}

/** Idempotent: equal inputs give an equal file. Throws `snapshot_empty` without training or test rows. */
export const takeSnapshot =
  ({ store, artifacts, config, log }: Deps) =>
  ({ model: name, asOf }: SnapshotInput): Promise<SnapshotResult> =>
    withHeartbeat(async () => {
      const { definition } = await getModel(store, name)
      const { split, subject, views } = definition
      const source = await digestOfSource(definition.source)
      const subjectKey = subject === undefined ? undefined : subjectKeyOf(await openSigner(config.signingKey))
      const wanted = { definition, asOf, store, artifacts, subjectKey }
      const taken = await writeSnapshot(wanted).catch((error: unknown) => {
        throw asUnreadable(name, error)
      })
      const { digest, bytes, parts: rows, columns, subjects } = taken
      await insertSnapshot(store, {
        digest,
        model: name,
        asOf,
        rows: rows.train + rows.test,
        bytes,
        columns,
        source: { ...source, split, subjects, views: views?.map(({ name, digest }) => ({ name, digest })) },
      })
      log.info({ model: name, asOf, snapshot: digest, rows, bytes }, 'snapshot taken')
      return { digest, rows }
    })

/** Writes the file and stores it under its digest. */
export async function writeSnapshot(options: {
  definition: ModelDefinition
  asOf: string
  store: Store
  artifacts: Artifacts
  /** Required for a model with a subject column. */
  subjectKey?: SubjectKey
}): Promise<{
  digest: string
  bytes: number
  parts: { train: number; test: number }
  columns: Record<string, string>
  /** The digest of the list of data subjects, for a model with a subject column. */
  subjects?: string
}> {
  const { definition, asOf, store, artifacts, subjectKey } = options
  return withDuck(async (duck) => {
    const asOfMs = Date.parse(asOf)
    const sinceMs = firstNeededMs(definition, asOfMs)
    const plan = planRows(definition, { asOfMs, root: checkout, sinceMs })
    await loadHistory(duck, store, definition, { sinceMs, asOfMs })
    await loadRowsAsOf(duck, plan, definition.source.kind === 'postgres' ? { postgres: store } : 'files')
    const subjects = await settleSubjects(duck, { store, artifacts }, definition, subjectKey)
    await duck.run(`create temp table shaped as ${plan.rows}`)
    const draft = await artifacts.draft('.parquet')
    const query = snapshotQuery(definition, asOfMs)
    await duck.run(`copy (${query}) to ${literal(draft)} (format parquet, compression zstd)`)
    const { train, test } = await countParts(duck, draft)
    if (!train || !test) {
      const { name: model } = definition
      const message = `no ${train ? 'test' : 'train'} rows of ${model} are known as of ${asOf}`
      throw new DomainError('snapshot_empty', message, { model, asOf })
    }
    const columns = await describeColumns(duck, draft)
    const taken = await artifacts.take('snapshots', draft)
    return { ...taken, parts: { train, test }, columns, subjects }
  })
}

async function countParts(duck: Duck, path: string): Promise<{ train?: number; test?: number }> {
  const { part } = snapshotColumns
  const rows = await duck.rows<{ part: string; n: number }>(
    `select ${part} as part, count(*) as n from ${literal(path)} group by ${part}`,
  )
  return Object.fromEntries(rows.map(({ part: name, n }) => [name, n]))
}

async function describeColumns(duck: Duck, path: string): Promise<Record<string, string>> {
  const rows = await duck.rows<{ column_name: string; column_type: string }>(
    `select column_name, column_type from (describe select * from ${literal(path)})`,
  )
  return Object.fromEntries(rows.map((row) => [row.column_name, row.column_type]))
}
