/** The checks of a build against a running installation: its workflows are replayed, its versions loaded, its verdicts repeated. */
import { isDeepStrictEqual } from 'node:util'
import { Worker, type NativeConnection, type ReplayHistoriesIterable } from '@temporalio/worker'
import type {
  VerdictsAgain,
  JudgedAgain,
  OpenedVersions,
  ReplayedOwn,
} from '../../domain/installation/checked-build.ts'
import type { Store } from '../../store/postgres.ts'
import { bringCopies } from '../../store/objects/artifact-copies.ts'
import { checkout, type Config } from '../../temporal.config.ts'
import { labelProfiles } from '../../domain/model/reference-profile.ts'
import { judgeDrift } from '../../domain/monitoring/drift.ts'
import { listDriftJudgements, type DriftJudgement } from '../../store/monitoring/monitor-windows.ts'
import { findVersion, getVersion } from '../../store/registry/versions.ts'
import { reasonOf } from '../../domain/errors.ts'
import { judgedPolicy } from '../../domain/evaluation/gate.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import { withModelFolder } from '../runtime/model-folder.ts'
import { getManifest } from '../../store/artifacts.ts'
import { getModel } from '../../store/registry/models.ts'
import { listLastEvaluations, type Evaluation } from '../../store/training/evaluations.ts'
import type { Deps } from '../deps.ts'
import { runChild } from '../runtime/child-process.ts'
import type { EvaluatorJob, EvaluatorResult } from '../evaluation/evaluator.ts'
import { prepareMetrics } from '../evaluation/own-metrics.ts'
import { findTerminalDecisions, type TerminalDecision } from '../../store/release/decisions.ts'
import type { Verdict } from '../../domain/verdict.ts'
import { judge, type Judgement } from '../../domain/release/judge-stage.ts'
import { createObserver } from '../release/observe.ts'
import { listServingVersions } from '../../store/registry/artifact-retention.ts'
import { qualifyVersion } from '../release/qualify.ts'
import { converterOf, withSettings } from '../worker/payload-options.ts'
import { workflowCode } from '../../cli/build/workflows.mjs'

// Repeats the last drift verdicts with the judge of this build, from the counts and limits stored with each verdict.

const maxJudgements = 200

export async function judgeDriftAgain(store: Store, limit = maxJudgements): Promise<VerdictsAgain> {
  const result: VerdictsAgain = { judged: 0, notComparable: [], differs: [] }
  for (const judgement of await listDriftJudgements(store, limit)) {
    const { version, subject, toMs, level, inputs, policy, report } = judgement
    const what = `drift of ${version}, ${subject}, until ${new Date(toMs).toISOString()}`
    const reference = await referenceOf(store, judgement)
    if (reference === undefined) {
      result.notComparable.push(what)
      continue
    }
    const again = judgeDrift({ reference, ...inputs }, policy)
    result.judged++
    if (again.level !== level)
      result.differs.push({ what, before: driftText(level, report), after: driftText(again.level, again) })
  }
  return result
}

/** Undefined when the version is gone or no longer has a profile of its training rows. */
async function referenceOf(store: Store, { version, subject, inputs }: DriftJudgement) {
  if (inputs.reference !== undefined) return inputs.reference
  const profile = (await findVersion(store, version))?.manifest.profile
  if (subject === 'served') return profile
  if (labelProfiles(profile).length === 0) return undefined
  const { rows = 0, label, labels } = profile ?? {}
  return { rows, features: [], label, labels }
}

const driftText = (level: string, { reasons }: DriftJudgement['report']): string =>
  reasons.length === 0 ? level : `${level} (${reasons.map(({ code }) => code).join(', ')})`

// Evaluates the last versions again with the gate of this build, on the stored rows and artifacts, and compares the verdicts. Writes
// nothing but local copies from the object store, as a retraining does.

/** An evaluation takes seconds, and more with many rows. */
const maxEvaluations = 10
const silentMs = 600_000

type GateDeps = Pick<Deps, 'store' | 'artifacts' | 'config'>

export async function evaluateAgain(
  deps: GateDeps,
  { limit = maxEvaluations, models }: { limit?: number; models?: string } = {},
): Promise<VerdictsAgain> {
  const result: VerdictsAgain = { judged: 0, notComparable: [], differs: [] }
  for (const evaluation of await listLastEvaluations(deps.store, limit)) {
    const what = `${evaluation.version} (evaluation ${evaluation.id})`
    try {
      const { model } = evaluation
      const { report } = await withModelFolder(deps, { model, folder: models }, async (folder) =>
        runChild<never, EvaluatorResult>({
          file: 'activities/evaluation/evaluator.ts',
          job: await jobOf(deps, evaluation, folder),
          signal: AbortSignal.timeout(silentMs),
          silentMs,
          limitMb: deps.config.trainingMemoryMb,
        }),
      )
      result.judged++
      if (report.verdict !== evaluation.verdict)
        result.differs.push({ what, before: gateText(evaluation.report), after: gateText(report) })
    } catch (error) {
      result.notComparable.push(`${what}: ${reasonOf(error)}`)
    }
  }
  return result
}

/** A row that the gate did not write may have an empty report and empty inputs. */
const isComplete = ({
  report,
  inputs,
}: {
  report: Partial<Evaluation['report']>
  inputs: Partial<Evaluation['inputs']>
}): boolean => ![report.policy, report.reasons, inputs.anchorsAsked, inputs.slices].includes(undefined)

/** The job of the stored evaluation. Throws when it cannot be rebuilt; a changed model file is not a fault of the build. */
async function jobOf(
  { store, artifacts, config }: GateDeps,
  evaluation: Evaluation,
  models: string,
): Promise<EvaluatorJob> {
  const { model, artifactDigest, snapshotDigest, baselineVersion, report, inputs } = evaluation
  if (!isComplete(evaluation))
    throw new Error('its row has no report of the gate, or not its inputs, so its verdict cannot be repeated')
  const { definition } = await getModel(store, model)
  const { policy, slices } = definition.evaluation
  const digestOf = async (version: string) => {
    const { artifactDigest: digest } = await getVersion(store, version)
    return { version, artifactDigest: digest }
  }
  const champion = baselineVersion === undefined ? undefined : await digestOf(baselineVersion)
  const anchors = await Promise.all(inputs.anchorsAsked.map(digestOf))
  const judged = [artifactDigest, champion?.artifactDigest, ...anchors.map((each) => each.artifactDigest)]
  await bringCopies(artifacts, { snapshot: snapshotDigest, artifacts: judged })
  const { features } = await getManifest(artifacts, artifactDigest)
  const isAsThen =
    isDeepStrictEqual(plain(judgedPolicy(inputs, policy)), report.policy) &&
    isDeepStrictEqual(new Set(Object.keys(features)), new Set(Object.keys(definition.features))) &&
    isDeepStrictEqual(
      slices.map(({ name }) => name),
      inputs.slices.map(({ name }) => name),
    )
  if (!isAsThen) throw new Error('its model file has changed since')
  return {
    definition: withoutImportance(definition),
    snapshotDigest,
    artifactRoot: config.artifactRoot,
    challenger: artifactDigest,
    ...(champion !== undefined && { champion: champion.artifactDigest }),
    anchors,
    testSetUses: inputs.testSetUses,
    championSplitDiffers: inputs.championSplitDiffers,
    refitted: inputs.refitted,
    ...(inputs.search !== undefined && { search: inputs.search }),
    modelsDirectory: models,
    metricProgram: await prepareMetrics({ config }, definition, {
      models,
      signal: AbortSignal.timeout(silentMs),
    }),
  }
}

/** The value as it is stored in JSON. */
const plain = (value: object): unknown => JSON.parse(JSON.stringify(value))

/** Importance takes most of the time and decides nothing. A definition with metric functions must stay equal as a whole. */
const withoutImportance = (definition: EvaluatorJob['definition']): EvaluatorJob['definition'] =>
  definition.evaluation.policy.custom === undefined
    ? { ...definition, evaluation: { ...definition.evaluation, importance: 'off' } }
    : definition

const gateText = ({ verdict, reasons }: Pick<GateReport, 'verdict' | 'reasons'>): string =>
  reasons.length === 0 ? verdict : `${verdict} (${reasons.map(({ code }) => code).join(', ')})`

// Repeats the verdicts of the last releases with the judges of this build, from the stored counters, and compares them.

const maxReleases = 50

export async function judgeAgain(store: Store): Promise<JudgedAgain> {
  const result: JudgedAgain = { releases: 0, notComparable: [], differs: [] }
  for (const decided of await findTerminalDecisions(store, maxReleases)) {
    result.releases++
    const { id, releaseId: release, stage } = decided
    const again = await judgeOnce(store, decided)
    if (again === undefined) result.notComparable.push(`${release} (${stage})`)
    else if (again.kind !== decided.verdict.kind)
      result.differs.push({
        release,
        stage,
        decision: id,
        before: verdictText(decided.verdict),
        after: verdictText(again),
      })
  }
  return result
}

type JudgedVerdict = Pick<Verdict, 'kind' | 'reasons'>

/** The replicas store the counters of a tick some ticks late, so a look may have seen fewer of the last ticks than are stored now. */
const lateTicks = 5

/** Undefined when the stored counters are not those of the decision, or when its outcomes take minutes to read. */
async function judgeOnce(store: Store, decided: TerminalDecision): Promise<JudgedVerdict | undefined> {
  const { inputs, stage, stageIndex, at } = decided
  const state = { ...decided.state, stage, stageIndex }
  // A stored answer of another system is not requested again.
  if (state.policy.limits.external !== undefined) return undefined
  const { staleMs = 0, watchedMs = 0 } = inputs as { staleMs?: number; watchedMs?: number }
  try {
    const observed = await createObserver({ store }, state)(true)
    if (observed.isUnread) return undefined
    const judgedAt = (untilMs: number): Judgement =>
      judge(state, {
        ...observed,
        counted: observed.counted.filter(({ tickMs }) => tickMs <= untilMs),
        staleMs,
        watchedMs,
      })
    const decidedMs = Date.parse(at)
    const whole = judgedAt(decidedMs)
    const earlier = judgedAt(decidedMs - staleMs - lateTicks * state.policy.watch.tickMs)
    const isSame = (['canary', 'control'] as const).every((arm) => {
      const seen = requestsOf(inputs, arm)
      return requestsOf(earlier.inputs, arm) <= seen && seen <= requestsOf(whole.inputs, arm)
    })
    return isSame ? whole.verdict : undefined
  } catch (error) {
    return { kind: 'error', reasons: [{ code: 'error', message: reasonOf(error), values: {} }] }
  }
}

const requestsOf = (inputs: Record<string, unknown>, arm: 'canary' | 'control'): number =>
  (inputs[arm] as { requests?: number } | undefined)?.requests ?? 0

const verdictText = ({ kind, reasons }: JudgedVerdict): string =>
  reasons.length === 0 ? kind : `${kind} (${reasons.map(({ code }) => code).join(', ')})`

// Loads the versions that serve with the serving code of this build, as replicas will after the upgrade. Changes nothing.

/** Files and keys that this machine lacks say nothing about the build. */
const ofThisMachine = ['artifact_corrupt', 'artifact_untrusted']

export async function openServingVersions(
  deps: Pick<Deps, 'store' | 'artifacts' | 'config'>,
): Promise<OpenedVersions> {
  const result: OpenedVersions = { opened: 0, notComparable: [], refused: [] }
  for (const { version, digest } of await listServingVersions(deps.store)) {
    try {
      const found = await qualifyVersion(deps, { version, digest })
      if (found.ok) result.opened++
      else if (ofThisMachine.includes(found.code)) result.notComparable.push(`${version}: ${found.message}`)
      else result.refused.push({ version, problem: `${found.message} (${found.code})` })
    } catch (error) {
      result.notComparable.push(`${version}: ${reasonOf(error)}`)
    }
  }
  return result
}

// Replays the open and the last closed workflows of an installation with the workflow code of this build.

/** All open workflows are replayed; of the closed ones, the last of each type. */
const maxOpen = 5_000
const maxClosedOfType = 20
const pageSize = 500

interface Execution {
  workflowId: string
  runId: string
  type: string
  isOpen: boolean
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }

export async function replayOwn(
  connection: NativeConnection,
  config: Pick<Config, 'temporal' | 'taskQueues'>,
  code?: string,
): Promise<ReplayedOwn> {
  const { namespace } = config.temporal
  const executions = await listExecutions(connection, namespace, config.taskQueues.control)
  const byRun = new Map(executions.map((each) => [each.runId, each]))
  const bundle = { code: code ?? (await workflowCode(checkout, { logger: silent })) }
  const breaks: ReplayedOwn['breaks'] = []
  const results = Worker.runReplayHistories(
    { workflowBundle: withSettings(bundle, config.temporal), ...converterOf(config.temporal) },
    histories(connection, namespace, executions),
  )
  for await (const { workflowId, runId, error } of results)
    if (error !== undefined)
      breaks.push({
        workflowId,
        runId,
        isOpen: byRun.get(runId)?.isOpen === true,
        problem: error.message.split('\n')[0] ?? '',
      })
  const open = executions.filter(({ isOpen }) => isOpen).length
  return { open, closed: executions.length - open, breaks }
}

async function listExecutions(
  { workflowService }: NativeConnection,
  namespace: string,
  taskQueue: string,
): Promise<Execution[]> {
  const list = async (query: string, most: number): Promise<Execution[]> => {
    const found: Execution[] = []
    let nextPageToken: Uint8Array | undefined
    do {
      const page = await workflowService.listWorkflowExecutions({ namespace, query, pageSize, nextPageToken })
      for (const { execution, type, closeTime } of page.executions ?? [])
        found.push({
          workflowId: execution?.workflowId ?? '',
          runId: execution?.runId ?? '',
          type: type?.name ?? '',
          isOpen: closeTime == null,
        })
      nextPageToken = page.nextPageToken ?? undefined
    } while (nextPageToken !== undefined && nextPageToken.length > 0 && found.length < most)
    return found
  }
  const mine = `TaskQueue = "${taskQueue}"`
  const open = await list(`${mine} and ExecutionStatus = "Running"`, maxOpen)
  // A workflow that failed or was ended by hand says nothing about the code.
  const closed = await list(`${mine} and ExecutionStatus in ("Completed", "ContinuedAsNew")`, pageSize)
  const perType = new Map<string, number>()
  const last = closed.filter(({ type }) => {
    const count = (perType.get(type) ?? 0) + 1
    perType.set(type, count)
    return count <= maxClosedOfType
  })
  return [...open, ...last]
}

async function* histories(
  { workflowService }: NativeConnection,
  namespace: string,
  executions: readonly Execution[],
): ReplayHistoriesIterable {
  for (const { workflowId, runId } of executions) {
    const events = []
    let nextPageToken: Uint8Array | undefined
    do {
      const page = await workflowService.getWorkflowExecutionHistory({
        namespace,
        execution: { workflowId, runId },
        nextPageToken,
      })
      events.push(...(page.history?.events ?? []))
      nextPageToken = page.nextPageToken ?? undefined
    } while (nextPageToken !== undefined && nextPageToken.length > 0)
    yield { workflowId, history: { events } }
  }
}
