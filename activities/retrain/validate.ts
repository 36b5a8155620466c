/**
 * Validates a batch before training. A blocked batch is quarantined as a whole: the report is stored and an alert is raised, because a
 * model trained on partial data would be worse than the live one.
 */
import type { ExcludedRows, ValidationVerdict } from '../../domain/validation/expectations.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  listEarlierRows,
  findValidation,
  insertValidation,
  resultsOf,
  type ValidationRecord,
} from '../../store/training/snapshots.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { failureSentences, withChampion } from '../../domain/validation/check-rows.ts'
import { listKept } from '../features/kept-since.ts'
import { memoryOfJobMb } from '../runtime/memory-limit.ts'
import { runJob } from '../runtime/run-job.ts'
import type { JudgedSnapshot } from './judge-snapshot.ts'
import type { RowsJob } from './rows-child.ts'

export interface ValidateInput {
  /** Validates an id once. */
  validationId: string
  model: string
  snapshotDigest: string
  /** ISO 8601. */
  asOf: string
  excludedRows?: ExcludedRows
}

export interface ValidateResult {
  validationId: string
  verdict: ValidationVerdict
  /** Why the batch is blocked: the first failed checks, one sentence each. */
  failures: string[]
}

export const validate =
  ({ store, artifacts, config, log }: Deps) =>
  async ({
    validationId,
    model: name,
    snapshotDigest,
    asOf,
    excludedRows,
  }: ValidateInput): Promise<ValidateResult> => {
    const before = await findValidation(store, validationId)
    if (before !== undefined) return resultOf(before)
    const { definition } = await getModel(store, name)
    const path = await artifacts.locate('snapshots', snapshotDigest)
    const earlierRows = await listEarlierRows(store, { model: name, except: snapshotDigest })
    const serving = await findChampion(store, name)
    const version = serving && (await getVersion(store, serving.version))
    const champion = version?.manifest
    const kept = await listKept(store, definition)
    const job: RowsJob = {
      kind: 'validate',
      definition,
      path,
      asOf,
      champion,
      earlierRows,
      excludedRows,
      kept,
    }
    const report = await runJob<JudgedSnapshot>({
      what: `the validation of ${name}`,
      file: 'activities/retrain/rows-child.ts',
      job,
      limitMb: config.trainingMemoryMb ?? memoryOfJobMb(),
      plainErrors: true,
      keptFor: digestOfJson(definition),
    })
    const ofChampion = version && (await findValidation(store, version.lineage.validationId))
    const results = withChampion(report.results, ofChampion === undefined ? [] : resultsOf(ofChampion))
    const { verdict } = report
    const stored = await insertValidation(store, {
      id: validationId,
      model: name,
      snapshotDigest,
      verdict,
      report: { ...report, results },
    })
    const result = resultOf(stored)
    log.info({ model: name, snapshot: snapshotDigest, ...result }, 'validated')
    return result
  }

const resultOf = (stored: ValidationRecord): ValidateResult => ({
  validationId: stored.id,
  verdict: stored.verdict,
  failures: failureSentences(resultsOf(stored)),
})
