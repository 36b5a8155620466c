/**
 * Evaluates challenger and champion on the same frozen test rows, each with its own preprocessing. Runs in a child process, because the
 * bootstrap blocks for seconds.
 */
import { textLiteral, timestampLiteral } from '../../domain/sql-text.ts'
import { snapshotColumns, type ModelDefinition } from '../../domain/model-definition.ts'
import type { Reason } from '../../domain/verdict.ts'
import type { ComputedMetric } from '../../domain/evaluation/custom-metrics.ts'
import { builtInPrimary, hasCustomPrimary, type GatePolicy } from '../../domain/evaluation/policy.ts'
import {
  judgeGate,
  metricInputOf,
  scoreInputOf,
  type GateReport,
  type MetricInput,
} from '../../domain/evaluation/gate.ts'
import {
  rowsOfTruths,
  score,
  statisticOf,
  truthsOf,
  unreadableAnswers,
} from '../../domain/evaluation/metrics.ts'
import { pointValue } from '@tenure/sequential'
import { answerWidth, type ModelAnswers } from '../../domain/metrics/answers.ts'
import {
  judgeWorth,
  type CompressionCost,
  type GateCompression,
} from '../../domain/evaluation/compression.ts'
import { defaultFidelity, judgeFidelity, type FidelityInput } from '../../domain/evaluation/fidelity.ts'
import type { CompressionFacts } from '../../domain/model/compression.ts'
import type { EvaluationInputs } from '../../domain/evaluation/inputs-record.ts'
import {
  comparedNumbers,
  naiveAnswers,
  type GateInput,
  type GateSearch,
} from '../../domain/evaluation/input.ts'
import { predictAnswers } from '../../domain/evaluation/predict-answers.ts'
import { bestOf, type AnchorCandidate } from '../../domain/evaluation/anchor.ts'
import { judgedRows, type RefittedChampion } from '../../domain/evaluation/refitted-champion.ts'
import type { LoggedRequests } from '../../domain/training/logged-requests.ts'
import { checkRefit, type RefitCheck, type RefitPolicy } from '../../domain/training/refit.ts'
import { gateOf, taskOf, thresholdOf, sharedOutput } from '../../domain/tasks/tasks.ts'
import type { BatchCell } from '../../domain/validation/expectations.ts'
import { listCells, type ColumnTable } from '../../domain/model/columns.ts'
import { modelFeatures } from '../../domain/model/features.ts'
import type { Output } from '../../domain/tasks/output.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { loadUnchanged } from '../runtime/unchanged-model.ts'
import { withDuck, type Duck } from '../data/duckdb.ts'
import { takeJob, whileAlive, type Parent } from '../runtime/child-protocol.ts'
import { runTests } from './behaviour-tests.ts'
import {
  askRequests,
  entityKey,
  listAnswers,
  reportedText,
  withRefusals,
  type RowAnswers,
} from './request-answers.ts'
import { withImportance } from './importance.ts'
import { findLeaks } from './leakage-queries.ts'
import { computeMetrics, computeWithin, type MetricProgram } from './own-metrics.ts'
import {
  askChampion,
  askReleased,
  openVersionAnswers,
  testedVersion,
  type VersionAnswers,
} from './version-answers.ts'
import { judgedLabels, readDoubles, readPart, type LabelledRows } from '../data/rows.ts'

export interface EvaluatorJob {
  definition: ModelDefinition
  snapshotDigest: string
  artifactRoot: string
  /** Manifest digests. */
  challenger: string
  champion?: string
  /** Recent releases. The best of them on these rows is the anchor. */
  anchors: { version: string; artifactDigest: string }[]
  testSetUses: number
  championSplitDiffers?: boolean
  /** Present when the champion has been refitted, or the parent of the challenger, so that it has seen rows that the challenger is tested on. */
  refitted?: RefittedChampion
  search?: GateSearch
  /** Of a compressed challenger. */
  compression?: CompressionJob
  /** The directory of the model files, for metrics that are functions. */
  modelsDirectory: string
  /** Computes the metrics of a model file in Python. */
  metricProgram?: MetricProgram
}

/** What is known of a compressed challenger before its answers are compared with those of its parent. */
export interface CompressionJob {
  facts: CompressionFacts
  cost: CompressionCost
  /** How many compressions of the parent have been judged, with this one. */
  attempt: number
  /** What both are asked beside the test rows. */
  requests: LoggedRequests
}

/** Scores an artifact on the validation rows, by the primary metric. */
export interface ScoreJob extends Pick<
  EvaluatorJob,
  'definition' | 'snapshotDigest' | 'artifactRoot' | 'challenger' | 'modelsDirectory' | 'metricProgram'
> {
  kind: 'score'
}

/** Compares the answers of refitted weights with those of the judged ones. */
export interface RefitJob extends Omit<ScoreJob, 'kind' | 'modelsDirectory' | 'metricProgram'> {
  kind: 'refit'
  /** The artifact digest of the refitted weights. */
  refitted: string
  policy: RefitPolicy
}

export interface TrialScore {
  score: number | null
  /** Why there is no score. */
  issue?: string
}

export interface EvaluatorResult {
  report: GateReport
  inputs: EvaluationInputs
}

async function runEvaluation(given: EvaluatorJob, parent: Parent<never>): Promise<EvaluatorResult> {
  const versions = openVersionAnswers(given.artifactRoot, parent)
  try {
    const { job, ...tested } = await withUnseenRows(versions, given)
    return await evaluateBy(versions, job, tested, parent)
  } finally {
    await versions.close()
  }
}

/** What is compared, and on which rows, so that no side has seen them. */
interface Tested {
  /** The artifact that serves as champion, whose answers fix the bins, where another one is compared. */
  served?: string
  /** Milliseconds: only test rows with a later event. */
  after?: number
  comparison?: Reason
}

/** Chooses the rows that refitted weights have not seen, or what is compared where those are too few. */
async function withUnseenRows(
  versions: VersionAnswers,
  job: EvaluatorJob,
): Promise<Tested & { job: EvaluatorJob }> {
  const { refitted, definition, challenger } = job
  if (refitted === undefined) return { job }
  const path = await versions.artifacts.locate('snapshots', job.snapshotDigest)
  const after = Date.parse(refitted.newestEvent)
  const { output } = definition.label
  const { labels } = await readPart(path, 'test', { names: [], output, after })
  const { basis, comparison } = judgedRows(
    refitted,
    judgedLabels(labels, output),
    definition.evaluation.policy,
  )
  if (basis === 'unseen_rows') return { job, after, comparison }
  if (basis === 'same_weights' || basis === 'learnt_rows') return { job, comparison }
  const champion = basis === 'same_recipe' ? challenger : refitted.judged
  return { job: { ...job, champion, anchors: refitted.anchors }, comparison, served: job.champion }
}

async function evaluateBy(
  versions: VersionAnswers,
  job: EvaluatorJob,
  { after, comparison, served }: Tested,
  parent: Parent<never>,
): Promise<EvaluatorResult> {
  const { definition, testSetUses, championSplitDiffers, search, refitted } = job
  const { policy, baseline } = definition.evaluation
  const path = await versions.artifacts.locate('snapshots', job.snapshotDigest)
  const test = await parent.part('load data', async () => readTestRows(versions, job, { path, after }))
  await parent.yieldToEventLoop()
  const outputs = await outputsOf(versions, job)
  const refusals = new Map<string, RowAnswers>()
  const tolerant =
    job.compression === undefined
      ? versions
      : withRefusals(versions, refusals, {
          parent: job.compression.facts.artifact,
          child: job.challenger,
          definition,
        })
  const [challenger, champion] = await parent.part('predict', async () => [
    await tolerant.ask(job.challenger, test),
    job.champion === undefined ? null : await askChampion(tolerant, job.champion, test, outputs),
  ])
  await parent.yieldToEventLoop()
  const y = judgedLabels(test.labels, outputs.own)
  const released = await askAnchors(tolerant, job, { test, output: outputs.shared ?? outputs.own, parent })
  const { days, ...checks } = await checkRows(versions, job, { path, test, after, outputs })
  // Nothing is compared with a champion that cannot score the rows.
  const isComparable = typeof champion !== 'string'
  const numbers = isComparable && outputs.given ? comparedNumbers(outputs.own, outputs.given) : undefined
  const anchors = readableAnchors(released, y, policy)
  const best = hasCustomPrimary(policy)
    ? undefined
    : bestOf(released, truthsOf(y, policy, numbers?.compared), {
        ...policy,
        targets: numbers?.compared ?? policy.targets,
      })
  const columns = columnsOf(test, definition, () => naiveAnswers(y, policy, answerWidth(challenger) || 1))
  const manifest = await versions.manifestOf(job.challenger)
  const input: GateInput = {
    y,
    challenger,
    champion: isComparable ? champion : null,
    anchor: best?.answers ?? null,
    anchors: anchors.map(({ answers }) => answers),
    thresholds: { champion: outputs.given && thresholdOf(outputs.given), anchor: best?.threshold },
    numbers,
    ...columns,
    ...checks,
    columns: searchedColumns(test, definition),
    classes: gateOf(policy.task).hasPositives ? undefined : taskOf(outputs.own).decides?.names(outputs.own),
    testSetUses,
    championSplitDiffers,
    comparison,
    search,
    unknownCategories: manifest.unknownCategories,
    libraryWarnings: manifest.warnings,
    compression:
      job.compression &&
      (await besideParent(versions, job.compression, {
        job,
        refusals,
        challenger,
        parent:
          isComparable && champion !== null && job.champion === job.compression.facts.artifact
            ? champion
            : await tolerant.ask(job.compression.facts.artifact, test),
        test,
        slices: checks.slices,
        entities: columns.entities,
        policy,
      })),
  }
  const { own, report } = await parent.part('evaluate', async () => {
    const own = await ownMetricsOf(job, metricInputOf(input, policy), { table: test, parent })
    const report = await withImportance(judgeGate(input, policy, own), {
      names: Object.keys(modelFeatures((await versions.manifestOf(job.challenger)).features)),
      answer: (table) => versions.ask(job.challenger, table, { isPrepared: true }),
      rows: test,
      y,
      policy,
      importance: definition.evaluation.importance,
      reported: (error) => reportedText(definition, error),
    })
    return { own, report }
  })
  // Of the recipe of a refitted champion there are two trainings on the same rows, which say nothing of the champion's answers.
  const isChampions = job.champion === undefined || job.champion !== job.challenger
  const answers =
    !isComparable || champion === null || outputs.given === undefined || !isChampions
      ? undefined
      : predictAnswers({
          y: truthsOf(y, policy, numbers?.compared),
          challenger: { answers: challenger, output: outputs.own },
          champion: {
            answers: champion,
            output: outputs.given,
            profile: (await versions.manifestOf(served ?? job.champion!)).profile,
          },
          shared: outputs.shared ?? outputs.own,
          days,
          slices: checks.slices,
        })
  const chosen = own[policy.primary]?.anchor
  const anchor = chosen?.value != null ? { version: anchors[chosen.at]!.version, value: chosen.value } : best
  return {
    report: isComparable ? { ...report, answers } : incomparable(report, champion),
    inputs: {
      rows: report.rows,
      slices: checks.slices.map(({ name, rows }) => ({ name, rows: rows.length })),
      leakage: checks.leakage,
      testSetUses,
      championSplitDiffers,
      refitted,
      search,
      baseline: baseline ?? null,
      anchor: anchor === undefined ? null : { version: anchor.version, value: anchor.value },
      anchorsAsked: released.map(({ version }) => version),
    },
  }
}

/** Compares the answers of a compressed version with those of its parent. */
async function besideParent(
  versions: VersionAnswers,
  { facts, cost, attempt, requests }: CompressionJob,
  {
    job,
    refusals,
    challenger,
    parent,
    test,
    slices = [],
    entities,
    policy,
  }: Pick<FidelityInput, 'slices' | 'entities'> & {
    job: EvaluatorJob
    /** Of test rows, by the digest of the version. */
    refusals: ReadonlyMap<string, RowAnswers>
    challenger: ModelAnswers
    parent: ModelAnswers
    test: LabelledRows
    policy: GatePolicy
  },
): Promise<GateCompression> {
  const { artifact, epsilon, times, answerBound } = facts
  const version = await versions.manifestOf(artifact)
  const limits = { ...defaultFidelity(policy, { version }), attempt }
  const { definition } = job
  const asked = await askRequests(
    versions,
    { parent: artifact, child: job.challenger },
    { requests, definition },
  )
  const logged = new Map(asked.slices.map((slice) => [slice.name, slice.rows]))
  const [parentRows, childRows] = [artifact, job.challenger].map((digest) => refusals.get(digest))
  // Those before one that a version was not asked any more.
  const tested = Math.min(
    test.rows,
    ...[parentRows, childRows].flatMap((found) => found?.answers.length ?? []),
  )
  const refusedOf = (who: 'parent' | 'child', found: RowAnswers | undefined) =>
    new Map([
      ...[...(found?.refused ?? [])].filter(([row]) => row < tested),
      ...[...asked.refusals[who]].map(([row, why]) => [tested + row, why] as const),
    ])
  const fidelity = judgeFidelity({
    parent: [...listAnswers(parent).slice(0, tested), ...asked.parent],
    child: [...listAnswers(challenger).slice(0, tested), ...asked.child],
    refusals: { parent: refusedOf('parent', parentRows), child: refusedOf('child', childRows) },
    version,
    entities: [
      ...Array.from({ length: tested }, (_, row) =>
        entities === undefined ? `test row ${row}` : entityKey(entities[row]!),
      ),
      ...asked.entities,
    ],
    slices: slices.map(({ name, rows }) => ({
      name,
      rows: [
        ...Array.from(rows).filter((row) => row < tested),
        ...Array.from(logged.get(name) ?? [], (row) => tested + row),
      ],
    })),
    requests: asked.ids,
    policy: epsilon === undefined ? limits : { ...limits, epsilon, basis: 'the request sets ε' },
    certificate: answerBound === undefined ? undefined : { bound: answerBound },
  })
  return {
    ...facts,
    fidelity,
    requests: asked.asked,
    cost,
    worth: judgeWorth({ ...cost, bytes: facts.bytes }, times),
  }
}

/** What a version answers: the challenger, the champion, and what both can be compared by. */
interface Outputs {
  own: Output
  given: Output | undefined
  shared: Output | undefined
}

async function outputsOf(versions: VersionAnswers, { definition, champion }: EvaluatorJob): Promise<Outputs> {
  const own = definition.label.output
  const given = champion === undefined ? undefined : (await versions.manifestOf(champion)).output
  return { own, given, shared: given === undefined ? own : sharedOutput(own, given) }
}

const manifestsOf = (versions: VersionAnswers, { challenger, champion, anchors }: EvaluatorJob) =>
  Promise.all(
    [challenger, champion, ...anchors.map(({ artifactDigest }) => artifactDigest)]
      .filter((digest) => digest !== undefined)
      .map(versions.manifestOf),
  )

/** Reads the columns that the definition names, and those that an earlier version needs, if they are there. */
async function readTestRows(
  versions: VersionAnswers,
  job: EvaluatorJob,
  { path, after }: { path: string; after: number | undefined },
): Promise<LabelledRows> {
  const { features, label, evaluation, weights } = job.definition
  const { entity, groups, baseline } = evaluation
  const manifests = await manifestsOf(versions, job)
  return readPart(path, 'test', {
    names: Object.keys(features),
    optional: [
      ...manifests.flatMap((manifest) => Object.keys(manifest.features)),
      ...[weights?.column, entity, baseline, ...groups].filter((name) => name !== undefined),
    ],
    output: label.output,
    after,
  })
}

/** Finds the rows of each slice and columns that leak the label, and runs the behaviour tests. */
async function checkRows(
  versions: VersionAnswers,
  job: EvaluatorJob,
  {
    path,
    test,
    after,
    outputs: { own, given, shared },
  }: { path: string; test: LabelledRows; after: number | undefined; outputs: Outputs },
) {
  const { definition, challenger, champion } = job
  const manifests = await manifestsOf(versions, job)
  return withDuck(async (duck) => {
    const { part, eventAt } = snapshotColumns
    const rows =
      after === undefined ? '' : ` where ${part} <> 'test' or ${eventAt} > ${timestampLiteral(after)}`
    await duck.run(`create view snapshot as select * from ${textLiteral(path)}${rows}`)
    return {
      slices: await sliceRows(duck, definition),
      days: await daysOf(duck),
      leakage: await findLeaks(duck, definition),
      tests: await runTests({
        tests: definition.tests ?? [],
        features: definition.features,
        rows: featuresOnly(test, manifests),
        rowsWhere: (where) => rowsWhere(duck, where),
        seed: definition.evaluation.policy.seed,
        // Reports outlive erasures, so they may not show rows of data subjects.
        showsRows: definition.subject === undefined,
        reported: (error) => reportedText(definition, error),
        challenger: await testedVersion(versions, challenger, own),
        champion:
          champion === undefined
            ? undefined
            : await testedVersion(versions, champion, shared ?? given ?? own),
      }),
    }
  })
}

/** Reads from the test rows what the gate needs beside predictions. */
function columnsOf(
  test: LabelledRows,
  { evaluation: { baseline, groups, entity }, weights }: ModelDefinition,
  naive: () => readonly number[][],
): Pick<GateInput, 'baseline' | 'groups' | 'entities' | 'weights'> {
  const column = (name: string) => {
    const found = test.columns[name]
    return found === undefined ? [] : listCells(found)
  }
  return {
    baseline: baseline === undefined ? undefined : columnAnswers(column(baseline), naive()),
    groups: groups.map((attribute) => ({
      attribute,
      values: column(attribute).map((cell) => (cell === null ? null : String(cell))),
    })),
    weights:
      weights?.column === undefined
        ? undefined
        : {
            column: weights.column,
            values: column(weights.column).map((cell) => (cell === null ? NaN : Number(cell))),
          },
    entities:
      entity === undefined
        ? undefined
        : column(entity).map((cell) => (typeof cell === 'number' ? cell : String(cell))),
  }
}

/** The columns in which slices are searched: the features and the groups, but not who a row is about, because reports outlive erasures. */
function searchedColumns(
  { columns }: LabelledRows,
  { features, subject, evaluation: { groups } }: ModelDefinition,
): ColumnTable['columns'] {
  const names = new Set([...Object.keys(features), ...groups])
  return columnsNamed(columns, (name) => names.has(name) && name !== subject)
}

const columnsNamed = (
  columns: ColumnTable['columns'],
  isNamed: (name: string) => boolean,
): ColumnTable['columns'] => Object.fromEntries(Object.entries(columns).filter(([name]) => isNamed(name)))

/** The answers of earlier releases to the test rows. Skips a release that cannot score them; for the champion this is an error. */
async function askAnchors(
  versions: VersionAnswers,
  { anchors }: EvaluatorJob,
  { test, output, parent }: { test: LabelledRows; output: Output; parent: Parent<never> },
) {
  const released = []
  for (const { version, artifactDigest } of anchors) {
    const answers = await askReleased(versions, artifactDigest, test, output)
    await parent.yieldToEventLoop()
    if (typeof answers === 'string') continue
    const { output: own } = await versions.manifestOf(artifactDigest)
    released.push({ version, answers, threshold: thresholdOf(own) })
  }
  return released
}

/** The releases whose answers a metric of the model file can be given. */
const readableAnchors = <Released extends AnchorCandidate>(
  released: readonly Released[],
  y: readonly number[],
  policy: GatePolicy,
): Released[] =>
  released.filter(({ answers }) => unreadableAnswers(policy.task, answers, rowsOfTruths(y, policy)) === null)

async function runScore(job: ScoreJob, parent: Parent<never>): Promise<TrialScore> {
  const { definition } = job
  const { policy } = definition.evaluation
  const versions = openVersionAnswers(job.artifactRoot, parent)
  const path = await versions.artifacts.locate('snapshots', job.snapshotDigest)
  const { output } = definition.label
  const { entity, groups, baseline } = definition.evaluation
  const rows = await readPart(path, 'validation', {
    names: Object.keys(definition.features),
    // A metric in Python may use what it gets on the test rows.
    optional: [definition.weights?.column, entity, baseline, ...groups].filter((name) => name !== undefined),
    output,
  })
  const answers = await versions.ask(job.challenger, rows).finally(() => void versions.close())
  const y = judgedLabels(rows.labels, output)
  const count = rowsOfTruths(y, policy)
  const issue = unreadableAnswers(policy.task, answers, count) ?? undefined
  if (issue !== undefined) return { score: null, issue }
  if (hasCustomPrimary(policy)) {
    const { primary } = policy
    const input = scoreInputOf({ y, challenger: answers }, policy)
    const own = await ownMetricsOf(job, input, { table: rows, parent })
    const { value = null, fault } = own[primary]?.challenger ?? {}
    return { score: value, ...(fault !== undefined && { issue: `${primary} ${fault}` }) }
  }
  return {
    score: pointValue(statisticOf(builtInPrimary(policy), score(policy.task, y, answers, policy)), count),
  }
}

async function runRefit(
  { definition, refitted, policy, ...job }: RefitJob,
  parent: Parent<never>,
): Promise<RefitCheck> {
  const versions = openVersionAnswers(job.artifactRoot, parent)
  try {
    const path = await versions.artifacts.locate('snapshots', job.snapshotDigest)
    const { output } = definition.label
    const rows = await readPart(path, 'test', { names: Object.keys(definition.features), output })
    const judged = await versions.ask(job.challenger, rows)
    await parent.yieldToEventLoop()
    const y = judgedLabels(rows.labels, output)
    return checkRefit({ judged, refitted: await versions.ask(refitted, rows), y }, output, policy)
  } finally {
    await versions.close()
  }
}

/** Throws `training_failed` when the file has changed since it was registered. */
async function ownMetricsOf(
  {
    definition,
    modelsDirectory,
    metricProgram,
  }: Pick<EvaluatorJob, 'definition' | 'modelsDirectory' | 'metricProgram'>,
  input: MetricInput | undefined,
  { table, parent }: { table: LabelledRows; parent: Parent<never> },
): Promise<Record<string, ComputedMetric>> {
  if (input === undefined || definition.evaluation.policy.custom === undefined) return {}
  const { rows, policy } = input
  const { metrics } = await loadUnchanged(definition, modelsDirectory)
  if (metricProgram === undefined) {
    const computed: Record<string, ComputedMetric> = {}
    for (const name of Object.keys(policy.custom ?? {})) {
      await parent.yieldToEventLoop()
      computed[name] = computeWithin(metrics[name]!, name, { rows, policy })
    }
    return computed
  }
  const run = { model: definition.name, models: modelsDirectory, rows, table, policy }
  return whileAlive(parent, () => computeMetrics(metricProgram, { ...run, folder: parent.scratch }))
}

/** The predictions of a column, or constant ones for a model without that column. */
function columnAnswers(cells: readonly BatchCell[], naive: readonly number[][]): number[][] {
  return cells.map((cell, row) => (cell === null ? naive[row]! : [Number(cell)]))
}

/** Without predictions of the champion the comparison is undefined, however good the challenger is. */
function incomparable(report: GateReport, message: string): GateReport {
  const reason = { code: 'champion_incomparable', message, values: {} }
  return { ...report, verdict: 'insufficient', reasons: [reason, ...report.reasons] }
}

/** The row positions of each declared slice in the test rows. */
async function sliceRows(
  duck: Duck,
  { evaluation: judge }: ModelDefinition,
): Promise<{ name: string; rows: Uint32Array }[]> {
  const slices = []
  for (const { name, where } of judge.slices) slices.push({ name, rows: await rowsWhere(duck, where) })
  return slices
}

/** The day of each test row, as a number; undefined where a row has no time. */
async function daysOf(duck: Duck): Promise<Float64Array | undefined> {
  const { eventAt, part } = snapshotColumns
  const days = await readDoubles(
    duck,
    `select coalesce(floor(epoch(cast(${eventAt} as timestamp)) / 86400), -1) from snapshot where ${part} = 'test'`,
  )
  return days.includes(-1) ? undefined : days
}

async function rowsWhere(duck: Duck, where: string): Promise<Uint32Array> {
  const hits = await readDoubles(
    duck,
    `select coalesce((${where}), false) from snapshot where _part = 'test'`,
  )
  const rows = new Uint32Array(hits.reduce((sum, hit) => sum + hit, 0))
  let count = 0
  for (let row = 0; row < hits.length; row++) if (hits[row] === 1) rows[count++] = row
  return rows
}

/** Removes columns that no version uses. */
function featuresOnly({ rows, columns }: ColumnTable, manifests: readonly Manifest[]): ColumnTable {
  const taken = new Set(manifests.flatMap(({ features }) => Object.keys(features)))
  return { rows, columns: columnsNamed(columns, (name) => taken.has(name)) }
}

takeJob<EvaluatorJob | ScoreJob | RefitJob, never, EvaluatorResult | TrialScore | RefitCheck>(
  (job, parent) => {
    if (!('kind' in job)) return runEvaluation(job, parent)
    return job.kind === 'score' ? runScore(job, parent) : runRefit(job, parent)
  },
)
