/**
 * Checks training-serving skew: computes the columns of `prepare` from logged rows as a snapshot does, and encodes and predicts the rows
 * again with the training code. A difference is a defect that would otherwise look like lost quality.
 */
import { outputWidth } from '@tenure/predictors/features'
import { DomainError } from '../../domain/errors.ts'
import { sentFeatures, type FeatureRow, type Features } from '../../domain/model/features.ts'
import {
  digestedIn,
  digestReason,
  digestText,
  isLoggedDigest,
  type LoggedRow,
} from '../../domain/model/logged-rows.ts'
import { computedColumns } from '../../domain/model/prepare.ts'
import { skewText, type SkewReport } from '../../domain/monitoring/training-serving-skew.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { listLogged } from '../../store/monitoring/matured-outcomes.ts'
import { insertServingJudgement } from '../../store/monitoring/monitor-windows.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import { getVersion, type Version } from '../../store/registry/versions.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
import { openPreparer } from '../data/prepared-rows.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { runServingChild } from '../runtime/serving-child.ts'

export interface SkewInput {
  model: string
  /** Default: the champion. */
  version?: string
  /** ISO 8601; the end of the window. */
  to: string
  windowMs: number
  /** Row limit; rows are chosen by the hash of their ids. */
  rows?: number
}

export interface SkewResult extends Pick<SkewReport, 'compared' | 'mismatchedRows' | 'columns'> {
  /** `not_checked`: all features of the rows are logged as digests. */
  status: SkewReport['status'] | 'no_champion' | 'not_checked'
  /** Which columns were not compared, and why. */
  reason?: string
  version?: string
  judgementId?: number
}

const judge = 'skew@1'
/** Tolerance of numbers: absolute, and relative above 1. */
const tolerance = 1e-6
const childMs = 60_000

/** Judges a window once and stores nothing without rows. Throws the artifact errors of the replay process. */
export const checkServingSkew =
  ({ store, artifacts, config, log }: Deps) =>
  (input: SkewInput): Promise<SkewResult> =>
    withHeartbeat(async (beat) => {
      const { model, to, windowMs, rows: most = 1_000 } = input
      const toMs = Date.parse(to)
      if (!(toMs > 0) || !(windowMs > 0) || !(most >= 1 && most <= 10_000))
        throw new DomainError(
          'invalid_request',
          `the skew check needs 1 to 10000 rows and a window that ends at a time: ${most} rows, ${windowMs} ms to ${to}`,
        )
      const version = input.version ?? (await findChampion(store, model))?.version
      if (version === undefined) return nothing('no_champion')
      const registered = await getVersion(store, version)
      const { manifest, artifactDigest } = registered
      const span = { model, version, fromMs: toMs - windowMs, toMs }
      const { preprocessing: fits, output } = manifest
      const logged = await listLogged(store, { ...span, fits, width: outputWidth(output) }, most)
      if (logged.length === 0) return { ...nothing('no_data'), version }
      const { report, notCompared, reason } = await replayLogged({ artifacts, config }, registered, logged)
      beat.check()
      if (report === undefined) return { ...nothing('not_checked'), version, reason }
      const [first, last] = [logged[0]?.predictionId, logged.at(-1)?.predictionId]
      const { id, statistic } = await insertServingJudgement(store, {
        ...span,
        kind: 'skew',
        verdict: report.status,
        statistic: report,
        inputs: { artifactDigest, rows: logged.length, first, last, notCompared },
        policy: { tolerance, most },
        judge,
      })
      const { status, compared, mismatchedRows, columns } = statistic
      const result = { status, version, judgementId: id, compared, mismatchedRows, columns, reason }
      const except = reason === undefined ? '' : `; ${reason}`
      const dedupeKey = `skew/${model}`
      if (status === 'ok')
        await resolveAlert(
          store,
          dedupeKey,
          `${version}: ${compared} rows compared, all as in training${except}`,
        )
      if (status === 'skew')
        await upsertAlert(store, {
          dedupeKey,
          model,
          severity: 'critical',
          kind: 'serving_skew',
          message: `${version}: ${skewText(statistic)}${except}`,
          evidence: { judgementId: id, version, columns },
        })
      log.info({ ...result, model, to, windowMs }, 'skew checked')
      return result
    })

/** A row as it is logged, with the outputs that were served. */
export interface ServedRow {
  predictionId: string
  row: LoggedRow
  outputs: number[]
}

export interface Replayed {
  /** Absent where all features are logged as digests. */
  report?: SkewReport
  /** The columns that were not compared, and why. */
  notCompared: string[]
  reason?: string
}

/** Compares rows with the training path, in a process of its own. Throws where the artifact cannot be replayed. */
export async function replayLogged(
  { artifacts, config }: Pick<Deps, 'artifacts' | 'config'>,
  registered: Pick<Version, 'version' | 'model' | 'artifactDigest' | 'signature' | 'manifest'>,
  logged: readonly ServedRow[],
): Promise<Replayed> {
  verifyArtifact(openPublicKeys(config.signing, 'artifacts'), registered)
  const { version, manifest, artifactDigest } = registered
  const digested = digestedIn(logged)
  if (digested.length === manifest.preprocessing.length)
    return { notCompared: digested, reason: digestText(digested) }
  await bringCopies(artifacts, { artifacts: [artifactDigest] })
  const { rows, derived } = await withRecomputed(manifest.features, logged.map(valuesOf), digested)
  const notCompared = digested.length === 0 ? [] : [...digested, ...derived, 'score']
  const found = await runServingChild<{ ok: true; report: SkewReport }>(
    [config.artifactRoot, artifactDigest, version],
    {
      script: 'api/processes/skew-replayer.ts',
      timeoutMs: childMs,
      input: JSON.stringify({ rows, digested }),
    },
  )
  if (!found.ok) throw new DomainError('artifact_invalid', `${version} cannot be replayed: ${found.message}`)
  return {
    report: found.report,
    notCompared,
    ...(digested.length > 0 && {
      reason: `not compared: ${notCompared.join(', ')}, because ${digestReason(digested)}`,
    }),
  }
}

/** The relative rounding error of a logged number, because the log stores 32-bit floats. */
const rounding = 2 ** -24

/** A logged row without its digests. */
const valuesOf = <R extends { row: LoggedRow }>(logged: R): Omit<R, 'row'> & { row: FeatureRow } => ({
  ...logged,
  row: Object.fromEntries(
    Object.entries(logged.row).filter(([, value]) => !isLoggedDigest(value)),
  ) as FeatureRow,
})

/**
 * Adds to logged rows what the expressions of `prepare` give for their fields in the SQL of a snapshot. A value counts as the logged one
 * where it differs by no more than the rounding of the fields in the log can make it. `derived`: the columns that are left out, because
 * their expressions name a feature that is logged as a digest.
 */
async function withRecomputed<R extends { row: FeatureRow }>(
  features: Features,
  logged: readonly R[],
  digested: readonly string[],
): Promise<{ rows: (R & { recomputed?: FeatureRow })[]; derived: string[] }> {
  const all = computedColumns(features)
  if (all.length === 0) return { rows: [...logged], derived: [] }
  const numbers = Object.entries(sentFeatures(features)).flatMap(([name, { kind }]) =>
    kind === 'number' ? [name] : [],
  )
  // The rows as logged, then once more for each number, a little lower and a little higher.
  const variants: ((row: FeatureRow) => FeatureRow)[] = [
    (row) => row,
    ...numbers.flatMap((name) =>
      [1 - rounding, 1 + rounding].map((factor) => (row: FeatureRow) => {
        const value = row[name]
        return typeof value === 'number' ? { ...row, [name]: value * factor } : row
      }),
    ),
  ]
  const preparer = await openPreparer(features)
  try {
    const isDerived = ({ name }: { name: string }) =>
      digested.some((each) => preparer.fieldsOf(name).has(each))
    const computed = all.filter((column) => !isDerived(column) && !digested.includes(column.name))
    const values: Awaited<ReturnType<typeof preparer.compute>>[] = []
    for (const variant of variants) {
      const rows = logged.map(({ row }) => variant(row))
      values.push(await preparer.compute((name) => rows.map((row) => row[name] ?? null), rows.length))
    }
    const rows = logged.map((each, at) => {
      const again = computed.map(({ name }) => {
        const found = values.map((columns) => columns[name]![at] as number | string | null)
        return [name, agreeing(each.row[name] ?? null, found)] as const
      })
      return { ...each, recomputed: Object.fromEntries(again) }
    })
    return { rows, derived: all.filter(isDerived).map(({ name }) => `${name} of prepare`) }
  } finally {
    preparer.close()
  }
}

/** Returns the logged value where one of the values, or a number within their distance, agrees with it; otherwise the first value. */
function agreeing(logged: number | string | null, values: readonly (number | string | null)[]) {
  const [first = null, ...nudged] = values
  if (values.some((value) => value === logged)) return logged
  if (typeof logged !== 'number' || typeof first !== 'number') return first
  const slack = nudged.reduce<number>(
    (sum, value) => sum + (typeof value === 'number' ? Math.abs(value - first) : 0),
    tolerance * Math.max(1, Math.abs(first)),
  )
  return Math.abs(logged - first) <= slack ? logged : first
}

const nothing = (status: SkewResult['status']) => ({ status, compared: 0, mismatchedRows: 0, columns: [] })
