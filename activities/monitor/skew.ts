/**
 * Checks training-serving skew: encodes and predicts logged rows again with the training code. A difference is a defect that would
 * otherwise look like lost quality.
 */
import { outputWidth } from '@tenure/predictors/features'
import { DomainError } from '../../domain/errors.ts'
import type { SkewReport } from '../../domain/monitoring/training-serving-skew.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { listLogged } from '../../store/monitoring/matured-outcomes.ts'
import { insertServingJudgement } from '../../store/monitoring/monitor-windows.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { openPublicKeys } from '../../store/signing/signing-key.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { verifyArtifact } from '../../store/signing/artifact-signatures.ts'
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
  status: SkewReport['status'] | 'no_champion'
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
      verifyArtifact(openPublicKeys(config.signing, 'artifacts'), registered)
      const { manifest, artifactDigest } = registered
      const span = { model, version, fromMs: toMs - windowMs, toMs }
      const { preprocessing: fits, output } = manifest
      const logged = await listLogged(store, { ...span, fits, width: outputWidth(output) }, most)
      if (logged.length === 0) return { ...nothing('no_data'), version }
      await bringCopies(artifacts, { artifacts: [artifactDigest] })
      const found = await runServingChild<{ ok: true; report: SkewReport }>(
        [config.artifactRoot, artifactDigest, version],
        { script: 'api/processes/skew-replayer.ts', timeoutMs: childMs, input: JSON.stringify(logged) },
      )
      beat.check()
      if (!found.ok)
        throw new DomainError('artifact_invalid', `${version} cannot be replayed: ${found.message}`)
      const [first, last] = [logged[0]?.predictionId, logged.at(-1)?.predictionId]
      const { id, statistic } = await insertServingJudgement(store, {
        ...span,
        kind: 'skew',
        verdict: found.report.status,
        statistic: found.report,
        inputs: { artifactDigest, rows: logged.length, first, last },
        policy: { tolerance, most },
        judge,
      })
      const { status, compared, mismatchedRows, columns } = statistic
      const result = { status, version, judgementId: id, compared, mismatchedRows, columns }
      const dedupeKey = `skew/${model}`
      const differing = columns.map(
        ({ name, mismatches, example }) => `${name} in ${mismatches}, as in ${example}`,
      )
      if (status === 'ok')
        await resolveAlert(store, dedupeKey, `${version}: ${compared} rows compared, all as in training`)
      if (status === 'skew')
        await upsertAlert(store, {
          dedupeKey,
          model,
          severity: 'critical',
          kind: 'serving_skew',
          message: `${version}: ${mismatchedRows} of ${compared} rows differ from training: ${differing.join('; ')}`,
          evidence: { judgementId: id, version, columns },
        })
      log.info({ ...result, model, to, windowMs }, 'skew checked')
      return result
    })

const nothing = (status: SkewResult['status']) => ({ status, compared: 0, mismatchedRows: 0, columns: [] })
