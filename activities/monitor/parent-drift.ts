/**
 * Compares the logged answers of a compressed champion with those of its parent: a sample of the requests of each window is answered again by
 * the parent, in a process of its own, so that no request waits for two versions. Says whether the monitor returns to the parent.
 */
import { outputWidth } from '@tenure/predictors/features'
import { isRemote } from '@tenure/predictors/format-names'
import { judgeFidelity } from '../../domain/evaluation/fidelity.ts'
import { digestText, valuesOfLogged } from '../../domain/model/logged-rows.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import {
  judgeParentDrift,
  type ParentComparison,
  type ParentDriftJudgement,
  type ParentDriftState,
} from '../../domain/monitoring/parent-drift.ts'
import { listAlarmsAgainst, resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import type { MonitorPolicy } from '../../domain/monitoring/policy.ts'
import { listLogged } from '../../store/monitoring/matured-outcomes.ts'
import { findMonitorWindow, type Span } from '../../store/monitoring/monitor-windows.ts'
import { chooseRollbackTarget, listRollbackTargets } from '../../store/registry/champions.ts'
import { getModel } from '../../store/registry/models.ts'
import { getVersion, type Version } from '../../store/registry/versions.ts'
import { getEvaluation } from '../../store/training/evaluations.ts'
import { decisionOf } from '../../domain/tasks/tasks.ts'
import { withDuck } from '../data/duckdb.ts'
import { loadServed, sliceMembers, type ServedRow } from '../data/served-table.ts'
import type { Deps } from '../deps.ts'
import { answersBy, issueOfReturn } from './decay.ts'

/** Rows of a window that the parent answers too. */
const maxRows = 1_000

type CompareDeps = Pick<Deps, 'store' | 'artifacts' | 'config' | 'log'>

export interface ParentDriftResult extends ParentDriftJudgement {
  /** The parent, where it is proven that the answers differ and the monitor may roll back to it. */
  to?: string
}

/** Judges a window and raises or resolves the alert; undefined for a champion that was not compressed. */
export async function checkParentDrift(
  deps: CompareDeps,
  { version: name, ...span }: Span & { version: string },
  { rollback }: Pick<MonitorPolicy, 'rollback'>,
): Promise<ParentDriftResult | undefined> {
  const { store } = deps
  const { model, fromMs, toMs } = span
  const dedupeKey = `parent/${model}`
  const version = await getVersion(store, name)
  const { compression } = version.lineage
  if (compression === undefined) {
    await resolveAlert(store, dedupeKey, `${name}, which was not compressed, is champion`)
    return undefined
  }
  const stored = (await findMonitorWindow(store, { model, toMs: fromMs }))?.findings['parent']
  const before = (stored as Partial<ParentDriftState> | undefined)?.version === name ? stored : undefined
  // A window that is missing, or whose comparison failed, ends no alarm.
  const isAlarmed = (await listAlarmsAgainst(store, { model, version: name })).some(
    ({ kind }) => kind === 'parent_differs',
  )
  const last = { version: name, parent: compression.version, evidence: 0, isAway: true }
  const judged = judgeParentDrift(
    { version: name, parent: compression.version },
    await compareWithParent(deps, { ...span, version, parent: compression.version }),
    {
      before: (before ?? (isAlarmed ? last : undefined)) as ParentDriftState | undefined,
      everyMs: toMs - fromMs,
    },
  )
  const [message] = judged.reasons
  if (judged.level === 'ok') await resolveAlert(store, dedupeKey, message!)
  if (judged.level !== 'away') return judged
  const { next, to } = await planOf(store, judged, { model, toMs, rollback })
  await upsertAlert(store, {
    dedupeKey,
    model,
    severity: 'critical',
    kind: 'parent_differs',
    message: `${message}. ${next}`,
    evidence: { version: name, parent: compression.version },
  })
  return { ...judged, ...(to !== undefined && { to }) }
}

/** What happens next: the return to the parent, or why not and the command for a person. */
async function planOf(
  store: Deps['store'],
  { version, parent, isProof }: ParentDriftJudgement,
  { model, toMs, rollback }: Pick<Span, 'model' | 'toMs'> & Pick<MonitorPolicy, 'rollback'>,
): Promise<{ to?: string; next: string }> {
  const targets = await listRollbackTargets(store, { model, from: version })
  const { to: target } = chooseRollbackTarget({ model, from: version }, targets, new Map())
  const issues = targets.find((each) => each.version === parent)?.issues ?? [
    'not a known good version that is kept',
  ]
  const issue =
    target !== parent
      ? `${parent} is no rollback target (${issues.join(', ')})`
      : !rollback
        ? 'the model file permits no automatic rollback'
        : isProof
          ? await issueOfReturn({ store }, { model, version, toMs })
          : 'this window alone does not prove it'
  if (issue === undefined)
    return {
      to: parent,
      next: `Tenure now rolls back to ${parent}. If ${version} still serves in a minute: \`tenure rollback ${model}\``,
    }
  const byHand =
    target === undefined
      ? `There is no known good version to return to: \`tenure retrain ${model}\` releases another, \`tenure kill-switches set ${model} refuse --reason …\` serves none`
      : `\`tenure rollback ${model}\` returns to ${target}`
  return { next: `Not rolled back by the monitor: ${issue}. ${byHand}` }
}

async function compareWithParent(
  deps: CompareDeps,
  { version: child, parent: name, ...span }: Span & { version: Version; parent: string },
): Promise<Parameters<typeof judgeParentDrift>[1]> {
  const { store } = deps
  const { manifest, version, evaluationId } = child
  const { compression } = (await getEvaluation(store, evaluationId)).report
  if (compression === undefined) return { reason: `the evaluation of ${version} has no limits` }
  const fits = manifest.preprocessing ?? []
  const logged = await listLogged(
    store,
    { ...span, version, fits, width: outputWidth(manifest.output) },
    maxRows,
  )
  if (logged.length === 0) return { reason: 'no logged rows to compare on' }
  const parent = await getVersion(store, name)
  if (isRemote(parent.manifest))
    return { reason: `the server of ${name} is not asked again for logged requests` }
  const values = valuesOfLogged(logged, Object.keys(parent.manifest.features))
  if ('digested' in values) return { reason: `${name} was ${digestText(values.digested)}` }
  const again = await answersBy(deps, parent, values)
  const both = logged.flatMap((row, i) => (again[i] === null ? [] : [{ ...row, parent: again[i]! }]))
  const compare = (rows: typeof both): ParentComparison | { reason: string } => {
    const report = judgeFidelity({
      parent: rows.map((row) => row.parent),
      child: rows.map(({ outputs }) => outputs),
      version: parent.manifest,
      entities: rows.map(({ entity }) => entity),
      slices: [{ name: 'all', rows: rows.map((_, i) => i) }],
      // A window is no further attempt to pass the gate: with its share of α, a thousand rows could never end an alarm.
      policy: { ...compression.fidelity.policy, attempt: 1 },
    })
    const [slice] = report.slices
    return slice === undefined ? { reason: report.reasons[0]!.message } : { report, logE: slice.evidence }
  }
  const all = compare(both)
  if ('reason' in all) return all
  const slices = (await slicesOf(store, { model: span.model, manifest }, both)).map(
    ({ name: slice, rows }) => {
      const compared = typeof rows === 'string' ? undefined : compare(rows.map((i) => both[i]!))
      return { name: slice, ...(compared && !('reason' in compared) && { compared }) }
    },
  )
  return { ...all, slices }
}

/** The places of the rows of each slice that the model file declares; a text where its condition reads what is not logged. */
async function slicesOf(
  store: Deps['store'],
  { model, manifest }: { model: string; manifest: Manifest },
  rows: readonly Pick<ServedRow, 'row' | 'outputs'>[],
): Promise<{ name: string; rows: number[] | string }[]> {
  const { slices } = (await getModel(store, model)).definition.evaluation
  if (slices.length === 0) return []
  const { output } = manifest
  const served = rows.map(({ row, outputs }) => ({
    row,
    outputs,
    truth: null,
    predicted: decisionOf(output, outputs) ?? 0,
  }))
  return withDuck(async (duck) => sliceMembers(await loadServed(duck, served, manifest), slices))
}
