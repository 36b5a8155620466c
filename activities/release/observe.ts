/** Reads the counters of a release. It is the only effect of a look; the judge is pure. */
import { outputWidth } from '@tenure/predictors/features'
import { isAbMetric } from '../../domain/canary/ab-test.ts'
import { cohortCounter, type AbPrediction, type CohortQuestion } from '../../domain/canary/ab-cohorts.ts'
import { coverageCounter, pairCoverage, type Coverage } from '../../domain/canary/coverage.ts'
import type { AnswerBins } from '../../domain/tasks/answer-bins.ts'
import { answerBins, sharedBins } from '../../domain/tasks/tasks.ts'
import {
  blocksOf,
  lossCounter,
  pairedLosses,
  scoredAlike,
  type ArmLosses,
  type LossQuestion,
  type ServedPair,
} from '../../domain/canary/holdback.ts'
import type { CountedTick, Observation } from '../../domain/release/evidence-builder.ts'
import { observedStage, type ReleaseState } from '../../domain/release/state.ts'
import {
  hasHoldbackOutcome,
  readReleaseAnswers,
  findReplicaReports,
  findTicks,
  listMaturedPairs,
} from '../../store/release/evidence.ts'
import { findGateway } from '../../store/serving/gateways.ts'
import type { Database } from '../../store/postgres.ts'
import { findEvaluation } from '../../store/training/evaluations.ts'
import { getVersion } from '../../store/registry/versions.ts'
import { findJudgedLoss } from '../evaluation/judged-loss.ts'
import type { Deps } from '../deps.ts'
import { businessReader } from './evidence/business-events.ts'
import type { ExternalReader } from './evidence/external-metrics.ts'
import { differenceReader } from './evidence/shadow-differences.ts'
import type { ServedReader } from './evidence/served-rows.ts'
import { sparingly, unhurriedly } from './evidence/sparing-reads.ts'

/** Older ticks count as complete, so that a long release is not read in full at every look. */
const settleTicks = 60
/** One look in this many reads all ticks again, to find those that a disconnected replica delivered late. */
const freshEvery = 100

/**
 * Returns a reader that re-reads only recent ticks. `whole` also reads all shadow pairs, outcomes and users, which are otherwise read
 * sparingly.
 */
export function createObserver(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
  readExternal?: ExternalReader,
  readServed?: ServedReader,
): (whole?: boolean) => Promise<Omit<Observation, 'watchedMs'>> {
  const { id, model, policy } = state
  let settled: CountedTick[] = []
  let settledMs: number | undefined
  let looks = 0
  const pairs = pairReader({ store }, state)
  const outcomesOf = holdbackReader({ store }, state) ?? cohortReader({ store }, state)
  const differences = pageByPage(differenceReader(store, state))
  const business = pageByPage(businessReader(store, state))
  let answers: Awaited<ReturnType<typeof answersOf>> | undefined
  let isCounted = false
  return async (whole = false) => {
    if (looks++ % freshEvery === 0) {
      settled = []
      settledMs = undefined
    }
    const [recent, { staleMs, breakers }, gateway, paired, outcomes, disagreement, done, served] =
      await Promise.all([
        findTicks(store, id, { model, sinceMs: settledMs }),
        findReplicaReports(store, state),
        findGateway(store, model),
        pairs(whole),
        outcomesOf?.(whole),
        differences?.(whole),
        business?.(whole),
        readServed?.(whole),
      ])
    let counted = [...settled, ...recent]
    const horizonMs = (recent.at(-1)?.tickMs ?? 0) - settleTicks * policy.watch.tickMs
    settled = counted.filter((row) => row.tickMs < horizonMs)
    settledMs = settled.length === 0 ? undefined : horizonMs
    isCounted ||= recent.some((row) => (row.answers ?? []).length > 0)
    if (isCounted || disagreement !== undefined) answers ??= await answersOf(store, state)
    const { places, predicted, ...named } = answers ?? {}
    const names = isCounted ? named : {}
    if (places !== undefined) counted = counted.map((tick) => withAnswers(tick, places))
    // Replicas write counts also while the gateway, whose counts they are, cannot be read.
    const oldestMs = staleMs === null ? null : Math.max(staleMs, gateway?.silentMs ?? 0)
    const read = {
      counted,
      staleMs: oldestMs,
      breakers,
      ...paired,
      ...outcomes,
      disagreement,
      served,
    }
    const external = await readExternal?.(counted)
    return { ...read, business: done, external, predicted, ...names }
  }
}

/**
 * The names of the answer bins, as the champion fixes them, in how many bins one answer is counted, which bins are compared when not all are,
 * and what the gate of the released evaluation has seen of them.
 */
async function answersOf(
  database: Database,
  { version, baseline, digests }: ReleaseState,
): Promise<
  Pick<Observation, 'answerNames' | 'answersPerKey' | 'predicted'> & { places?: readonly number[] }
> {
  if (baseline === undefined) return { answerNames: [] }
  const [{ manifest: candidate, evaluationId }, { manifest: champion }] = await Promise.all([
    getVersion(database, version),
    getVersion(database, baseline),
  ])
  const bins = champion.output && answerBins(champion.output, champion.profile)
  if (bins === undefined) return { answerNames: [] }
  const { names } = bins
  if (candidate.output === undefined) return { answerNames: names }
  const { places, perAnswer } = sharedBins(bins, candidate.output)
  const answerNames = places.map((place) => names[place]!)
  const evaluation = await findEvaluation(database, evaluationId)
  const seen = evaluation?.reportDigest === digests.evaluation ? evaluation.report.answers : undefined
  const isOfThese =
    seen?.names.length === answerNames.length && answerNames.every((name, i) => name === seen.names[i])
  return {
    answerNames,
    ...(isOfThese && { predicted: seen }),
    ...(perAnswer > 1 && { answersPerKey: perAnswer }),
    ...(places.length < names.length && { places }),
  }
}

const withAnswers = ({ answers, ...tick }: CountedTick, places: readonly number[]): CountedTick =>
  answers === undefined ? tick : { ...tick, answers: places.map((place) => answers[place] ?? 0) }

/** Reads the next pages sparingly, and all of them when all must be read. Undefined without a reader. */
const pageByPage = <T>(reader: { next(): Promise<T>; rest(): Promise<T> } | undefined) =>
  reader &&
  sparingly(
    () => reader.next(),
    () => reader.rest(),
  )

/** Reads the losses of both versions on the shadow pairs with a known outcome. */
function pairReader(
  { store }: Pick<Deps, 'store'>,
  { id: release, version, baseline, policy }: ReleaseState,
): (whole: boolean) => Promise<Pick<Observation, 'pairedLosses' | 'pairCoverage'>> {
  const isReversed = policy.probation?.shadowBp !== undefined
  if (baseline === undefined || (policy.shadow === undefined && !isReversed)) return () => Promise.resolve({})
  const shadow = { release, served: baseline, shadow: version }
  // In probation the previous champion runs in the shadow, so the sides of a pair are swapped.
  const reverse = { release, served: version, shadow: baseline }
  const compared = comparisonOf(store, version, baseline)
  return sparingly(async () => {
    const { by, judged, outputs, bins } = await compared()
    if (by === undefined) return {}
    const forward = (await listMaturedPairs(store, shadow)).map((pair): ServedPair => ({
      canary: pair.shadow,
      control: pair.served,
      value: pair.value,
      served: 'control',
    }))
    const reversed = (isReversed ? await listMaturedPairs(store, reverse) : []).map((pair): ServedPair => ({
      canary: pair.served,
      control: pair.shadow,
      value: pair.value,
      served: 'canary',
    }))
    const coverageOf = (pairs: ServedPair[]) => pairCoverage(pairs, outputs, bins)
    return {
      pairedLosses: pairedLosses([...forward, ...reversed], { by, judged }),
      pairCoverage: { shadow: coverageOf(forward), pairedLosses: coverageOf(reversed) },
    }
  })
}

type OutcomeReader = (
  whole: boolean,
) => Promise<Pick<Observation, 'cohorts' | 'losses' | 'holdback' | 'coverage' | 'isUnread'>>

/** Reads the matured outcomes of both arms of an A/B release. */
function cohortReader(
  { store }: Pick<Deps, 'store'>,
  { id: release, model, version, baseline, strategy, policy }: ReleaseState,
): OutcomeReader | undefined {
  const { ab } = policy
  const [split] = policy.stages
  if (strategy !== 'ab' || ab === undefined || split === undefined || baseline === undefined) return undefined
  const { metric } = ab
  if (!isAbMetric(metric) || metric === 'errors') return undefined
  const spanMs = Math.max(policy.watch.tickMs, Math.round(split.deadlineMs / 100))
  const compared = comparisonOf(store, version, baseline)
  return unhurriedly(async () => {
    const { outputs, bins, by, judged } = await compared()
    const asked = { release, model, version, baseline, outputs, bins }
    if (metric === 'loss') {
      if (by === undefined) return {}
      const question = { by, judged, blocks: blocksOf(split.shareBp) }
      const { losses, coverage } = await lossesOf(store, asked, question)
      return losses === undefined ? {} : { losses, coverage: { losses: coverage } }
    }
    const counter = cohortCounter({ metric, outputs, spanMs })
    const { maturedMs, coverage } = await readArms(store, asked, counter.add)
    return { cohorts: counter.cohorts(maturedMs), coverage: { cohorts: coverage } }
  })
}

type Comparison = Pick<LossQuestion, 'judged'> &
  Pick<AskedArms, 'outputs' | 'bins'> & { by?: LossQuestion['by'] }

/**
 * Returns a reader of how both versions are scored: by the loss of the candidate's gate, which every stage judges. It reads once, because
 * neither the versions nor their evaluation change. `by`: undefined where nothing can be compared.
 */
function comparisonOf(store: Database, version: string, baseline: string): () => Promise<Comparison> {
  let read: Comparison | undefined
  return async () => {
    if (read !== undefined) return read
    const [candidate, { manifest }] = await Promise.all([
      getVersion(store, version),
      getVersion(store, baseline),
    ])
    const { output } = candidate.manifest
    read = {
      judged: await findJudgedLoss(store, candidate),
      outputs: { canary: output, control: manifest.output },
      bins: answerBins(manifest.output, manifest.profile),
      by: scoredAlike(output, manifest),
    }
    return read
  }
}

interface AskedArms extends Pick<ReleaseState, 'model' | 'version'> {
  release: string
  baseline: string
  outputs: CohortQuestion['outputs']
  /** In which answers are counted, where they can be. */
  bins: AnswerBins | undefined
  fromMs?: number
}

/**
 * Reads the matured answers of both arms, each in the width of its own version, and returns the time before which answers are matured, and
 * which of them have an outcome.
 */
async function readArms(
  store: Deps['store'],
  { version, baseline, outputs, bins, ...asked }: AskedArms,
  take: (prediction: AbPrediction) => void,
): Promise<{ maturedMs: number; coverage: Coverage }> {
  const widths = { canary: outputWidth(outputs.canary), control: outputWidth(outputs.control) }
  const width = Math.max(widths.canary, widths.control)
  const coverage = coverageCounter(outputs, bins)
  let maturedMs = -Infinity
  await readReleaseAnswers(store, { ...asked, versions: [version, baseline], width }, (row) => {
    const arm = row.version === version ? 'canary' : 'control'
    maturedMs = row.maturedMs
    const prediction = {
      arm,
      atMs: row.atMs,
      outputs: row.outputs.slice(0, widths[arm]),
      value: row.value,
    } as const
    coverage.add(prediction)
    take(prediction)
  })
  return { maturedMs, coverage: coverage.counts() }
}

async function lossesOf(
  store: Deps['store'],
  asked: AskedArms,
  question: LossQuestion,
): Promise<{ losses: ArmLosses | undefined; coverage: Coverage }> {
  const counter = lossCounter(question)
  const { coverage } = await readArms(store, asked, counter.add)
  return { losses: counter.losses(), coverage }
}

/** Reads the matured outcomes of the new champion and of the holdback since the probation began. */
function holdbackReader({ store }: Pick<Deps, 'store'>, state: ReleaseState): OutcomeReader | undefined {
  const { id: release, model, version, baseline, policy, routings } = state
  const { probation } = policy
  const since = routings.find((each) => each.stage === 'probation')
  if (observedStage(state) !== 'probation' || !probation || !since || baseline === undefined) return undefined
  const blocks = blocksOf(10_000 - probation.holdbackBp)
  const fromMs = since.startedMs
  const compared = comparisonOf(store, version, baseline)
  return unhurriedly(async () => {
    if (!(await hasHoldbackOutcome(store, { model, release, baseline, fromMs }))) return {}
    const { outputs, bins, by, judged } = await compared()
    if (by === undefined) return {}
    const asked = { release, model, version, baseline, outputs, bins, fromMs }
    const { losses, coverage } = await lossesOf(store, asked, { by, judged, blocks })
    return losses === undefined ? {} : { holdback: losses, coverage: { holdback: coverage } }
  })
}
