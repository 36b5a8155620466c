/**
 * Validates a batch before training. A blocked batch is quarantined as a whole: the report is stored and an alert is raised, because a
 * model trained on partial data would be worse than the live one.
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
  /** Validates an id once. */
  validationId: string
  model: string
  snapshotDigest: string
  /** ISO 8601. */
  asOf: string
}

export interface ValidateResult {
  validationId: string
  verdict: ValidationVerdict
  /** Why the batch is blocked, one sentence each. */
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
      const expectations = [
        ...impliedExpectations(definition),
        ...(before === undefined ? [] : expectedOfChampion(definition, before)),
        ...definition.expectations,
      ]
      const context = { asOfMs: Date.parse(asOf), eventAt: snapshotColumns.eventAt, earlierRows }
      const { verdict, results: judged } = judgeValidation(expectations, table, context)
      const results = judged.map((each) => ({ ...each, subject: inTheirWords(each.subject, definition) }))
      const columns = summarize(table, [...Object.keys(definition.features), snapshotColumns.label])
      const report = { rows: table.rows, verdict, results, columns }
      await insertValidation(store, { id: validationId, model: name, snapshotDigest, verdict, report })
      const failures = results
        .filter(({ passed }) => !passed)
        .map(({ check, subject, severity, message }) => `${check} of ${subject} (${severity}): ${message}`)
      const result = { validationId, verdict, failures }
      log.info({ model: name, snapshot: snapshotDigest, ...result }, 'validated')
      return result
    })

/** Uses the source's column names instead of the internal ones of a snapshot. */
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
