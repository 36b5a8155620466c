/**
 * Looks at a batch before anything learns from it. What blocks is quarantined whole: the report is stored, an alert is
 * raised, and nothing else happens; a model trained on half an export would be worse than the one that is live.
 */
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import type { ValidationVerdict } from '../../domain/validation/expectations.ts'
import { impliedExpectations, judgeValidation } from '../../domain/validation/validate.ts'
import { expectedOfChampion } from '../../domain/validation/champion-expectations.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { getModel } from '../../store/registry/models.ts'
import { listEarlierRows } from '../../store/training/snapshots.ts'
import { insertValidation } from '../../store/training/validations.ts'
import { getVersion } from '../../store/registry/versions.ts'
import type { Deps } from '../deps.ts'
import { literal, withDuck } from '../data/duckdb.ts'
import { withHeartbeat } from '../runtime/heartbeat.ts'
import { summarize } from './column-summary.ts'

export interface ValidateInput {
  /** The same id validates once. */
  validationId: string
  model: string
  snapshotDigest: string
  /** ISO 8601. */
  asOf: string
}

export interface ValidateResult {
  validationId: string
  verdict: ValidationVerdict
  /** Why it does not pass, one sentence each. */
  failures: string[]
}

export const validate =
  ({ store, artifacts, log }: Deps) =>
  ({ validationId, model: name, snapshotDigest, asOf }: ValidateInput): Promise<ValidateResult> =>
    withHeartbeat(async () => {
      const { definition } = await getModel(store, name)
      const path = await artifacts.locate('snapshots', snapshotDigest)
      const table = await withDuck((duck) => duck.table(`select * from ${literal(path)}`))
      const earlierRows = await listEarlierRows(store, { model: name, except: snapshotDigest })
      const champion = await findChampion(store, name)
      const before = champion && (await getVersion(store, champion.version)).manifest
      const { verdict, results: judged } = judgeValidation(
        [
          ...impliedExpectations(definition),
          ...(before === undefined ? [] : expectedOfChampion(definition, before)),
          ...definition.expectations,
        ],
        table,
        { asOfMs: Date.parse(asOf), eventAt: snapshotColumns.eventAt, earlierRows },
      )
      const results = judged.map((each) => ({ ...each, subject: inTheirWords(each.subject, definition) }))
      const columns = summarize(table, [...Object.keys(definition.features), snapshotColumns.label])
      await insertValidation(store, {
        id: validationId,
        model: name,
        snapshotDigest,
        verdict,
        report: { rows: table.rows, verdict, results, columns },
      })
      const failures = results
        .filter(({ passed }) => !passed)
        .map(({ check, subject, severity, message }) => `${check} of ${subject} (${severity}): ${message}`)
      log.info(
        { model: name, snapshot: snapshotDigest, validation: validationId, verdict, failures },
        'validated',
      )
      return { validationId, verdict, failures }
    })

/** With the names of the source in place of those that every snapshot has: nobody else knows these. */
function inTheirWords(subject: string, { label, source }: ModelDefinition): string {
  const names: Record<string, string | undefined> = {
    [snapshotColumns.label]: label.column,
    [snapshotColumns.eventAt]: source.eventTime,
    [snapshotColumns.knownAt]: label.knownAt ?? source.eventTime,
    [snapshotColumns.key]: source.key.length === 0 ? undefined : source.key.join(' + '),
  }
  return subject
    .split(', ')
    .map((name) => names[name] ?? name)
    .join(', ')
}
