/**
 * Computes metrics by slice, group and probability, and the value of decisions, on the matured window. Slice conditions are evaluated on
 * logged rows as in the evaluation gate.
 */
import { outputWidth } from '@tenure/predictors/features'
import { defaultLabelPolicy, lowCoverageText } from '../../domain/monitoring/label-maturity.ts'
import {
  judgeBreakdown,
  type BreakdownMatter,
  type BreakdownReport,
} from '../../domain/monitoring/slice-metrics.ts'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { score, unreadableAnswers } from '../../domain/evaluation/metrics.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import { policyForOutput, type GatePolicy } from '../../domain/evaluation/policy.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'
import { truthOf } from '../../domain/model/outcome.ts'
import type { MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { listAlerts, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import { listMaturedRows, type MaturedRow } from '../../store/monitoring/matured-outcomes.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { quotedIdentifier } from '../../domain/sql-text.ts'
import type { Deps } from '../deps.ts'
import { withDuck } from '../data/duckdb.ts'
import { loadServed, readServed, sliceMembers } from '../data/served-table.ts'
import { findMaturity } from './matured-window.ts'

/** Row limit per window; more rows would cost more than they add. */
const maxRows = 4_000

export interface BreakdownResult extends Partial<BreakdownReport> {
  /** `doubtful`: the measured figures are beyond a limit, perhaps by chance. */
  level: 'ok' | 'doubtful' | 'found' | 'insufficient'
  reasons: string[]
}

export async function judgeBreakdownOf(
  { store }: Pick<Deps, 'store'>,
  asked: { model: string; version: string; nowMs: number; windowMs: number; observedMs: number },
  policy: MonitorPolicy,
): Promise<BreakdownResult> {
  const { model, version, nowMs } = asked
  const { definition } = await getModel(store, model)
  const { manifest, evaluationId } = await getVersion(store, version)
  const matured = await findMaturity(store, asked)
  if (matured === undefined) return insufficient('too few outcomes to tell how late they come')
  const { output } = manifest
  const { sampled, rows } = await listMaturedRows(
    store,
    { ...asked, ...matured, nowMs, fits: manifest.preprocessing ?? [], width: outputWidth(output) },
    maxRows,
  )
  const coverage = { coverage: rows.length / sampled, predictions: sampled }
  if (coverage.coverage < defaultLabelPolicy.minCoverage) return insufficient(lowCoverageText(coverage))
  const labelled = rows.flatMap((each) => {
    const y = truthOf(each.value, output)
    return y === null ? [] : [{ ...each, y }]
  })
  const evaluated = (await findEvaluation(store, evaluationId))?.report
  const gate = asEvaluated(policyForOutput(definition.evaluation.policy, output), evaluated)
  const answers = labelled.map(({ outputs }) => [...outputs])
  if (labelled.length < gate.evidence.sliceRows)
    return insufficient(`${labelled.length} matured rows, ${gate.evidence.sliceRows} are needed`)
  const unreadable = unreadableAnswers(gate.task, answers, labelled.length)
  if (unreadable !== null) return insufficient(unreadable)
  const truths = labelled.flatMap(({ y }) => y)
  const scored = score(gate.task, truths, answers, gate)
  const parts = await partsOf(labelled, { definition, manifest, policy, predicted: scored.predicted })
  const baseline = {
    slices: Object.fromEntries(
      (evaluated?.slices ?? []).map(({ unweighted, ...slice }) => [
        slice.name,
        unweighted === undefined ? slice : { ...slice, challenger: unweighted },
      ]),
    ),
    ece: evaluated?.calibration?.challenger.ece ?? null,
  }
  const routingKeys = labelled.map(({ entity }) => entity)
  const open = await listNamed(store, model)
  const report = judgeBreakdown(
    { scored, routingKeys, classes: taskOf(output).decides?.names(output), ...parts, baseline, open },
    gate,
    policy.business,
  )
  await alertFindings(store, { model, version }, report)
  return {
    ...report,
    level: report.findings.length > 0 ? 'found' : report.doubtful.length > 0 ? 'doubtful' : 'ok',
    reasons: [...report.findings, ...report.doubtful].map(({ message }) => message),
  }
}

/**
 * The policy with the metric by which the version's slices were evaluated. The model file may have another one since, whose limit does not
 * fit this one.
 */
function asEvaluated(gate: GatePolicy, evaluated: Partial<GateReport> | undefined): GatePolicy {
  const { slices = gate.slices } = evaluated?.policy ?? {}
  return slices.metric === gate.slices.metric ? gate : { ...gate, slices: { ...gate.slices, ...slices } }
}

const insufficient = (why: string): BreakdownResult => ({ level: 'insufficient', reasons: [why] })

/** The slices and attributes that open alerts name in their evidence. */
async function listNamed(store: Deps['store'], model: string): Promise<Record<string, string[]>> {
  const alerts = await listAlerts(store, { model, open: true })
  return Object.fromEntries(alerts.map(({ kind, evidence = {} }) => [kind, Object.keys(evidence)]))
}

async function alertFindings(
  store: Deps['store'],
  { model, version }: { model: string; version: string },
  { findings, cleared }: BreakdownReport,
): Promise<void> {
  const keyOf = (code: BreakdownMatter) => `${code}/${model}`
  for (const { code, severity, message, values } of findings)
    await upsertAlert(store, {
      dedupeKey: keyOf(code),
      model,
      severity,
      kind: code,
      message: `${version}: ${message}`,
      evidence: { version, ...values },
    })
  for (const code of cleared)
    await resolveAlert(store, keyOf(code), `${version}: within the limit in the last window`)
}

/** Computes the declared metrics on the rows. A metric that cannot be computed reports why and does not stop the others. */
async function partsOf(
  rows: readonly (MaturedRow & { y: readonly number[] })[],
  models: { definition: ModelDefinition; manifest: Manifest; policy: MonitorPolicy; predicted: Uint16Array },
) {
  const { business } = models.policy
  const { slices, groups } = models.definition.evaluation
  if (slices.length + groups.length === 0 && business === undefined) return { slices: [], groups: [] }
  return withDuck(async (duck) => {
    const { manifest, predicted } = models
    const served = rows.map((each, i) => ({ ...each, truth: each.y, predicted: predicted[i] ?? 0 }))
    const table = await loadServed(duck, served, manifest)
    const parts = await sliceMembers(table, slices)
    const compared = []
    for (const attribute of groups) {
      const text = `cast(${quotedIdentifier(attribute)} as varchar)`
      const values = await readServed(table, text, (cell) => (cell === null ? null : String(cell)))
      compared.push({ attribute, values })
    }
    const each = business && `cast((${business.perPrediction}) as double)`
    const worth = each && (await readServed(table, each, (cell) => (cell === null ? null : Number(cell))))
    return { slices: parts, groups: compared, worth }
  })
}
