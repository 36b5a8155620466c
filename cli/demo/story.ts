/**
 * Runs the demo: a first champion, a challenger that is promoted, and a faulty one that is rolled back. Each act ends with the
 * outcome stored in Postgres.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { ReleaseState } from '../../domain/release/state.ts'
import { findChampion } from '../../store/registry/champions.ts'
import type { Evaluation } from '../../store/training/evaluations.ts'
import { findOpenRelease, type Release } from '../../store/release/releases.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { approveByApi, approveBySignal, awaitApproval, followRelease, stagesOf } from './releasing.ts'
import { metricOf, rollbackLines, rollbackFiguresOf, type RollbackFigures } from './figures.ts'
import { timeText } from './narrator.ts'
import { countText, utcMinute } from '../../api/charts/figures.ts'
import { chapterAfter } from './progress.ts'
import { finishRetraining, trainChallenger } from './retraining.ts'
import { gateVerdictText, outcomeText } from '../../domain/evaluation/verdict-words.ts'
import { demoModel, type DemoWorld } from './world.ts'

export interface VersionResult {
  version: string
  outcome: string
  /** The AUC, and the champion's on the same rows. */
  auc: string
  brier: string
  rollbackFigures?: RollbackFigures
}

export interface DemoResult {
  versions: VersionResult[]
  failures: string[]
}

/** Traffic during training and during releases. */
const paces = {
  training: { requestsPerSecond: 60, everyNth: 1 },
  releasing: { requestsPerSecond: 400, everyNth: 1 },
} as const
/** The traffic that is replayed between two acts. */
const passing = { requests: 4_000, requestsPerSecond: 300 } as const
const flightsPerDay = 16_500
const dayMs = 86_400_000
/** A release begins with the flights of noon, however long its training takes: the replay waits for it there, or skips to it. */
const noonMs = dayMs / 2
/** The number of challengers that may fail the gate before an act ends without a release. */
const maxTries = 3
/** Share of invalid predictions of the faulty version. */
const faultShare = 0.3

export async function runStory(world: DemoWorld): Promise<DemoResult> {
  const story: DemoResult = { versions: [], failures: [] }
  await finishInterrupted(world)
  await firstChampion(world, story)
  const chapter = chapterAfter(world.progress.replayedToMs)
  if (chapter === undefined) throw new Error('the recorded flights are used up')
  world.narrator.act(2, 'Weeks of live traffic')
  await nextDays(world, chapter.challengerMs)
  await promotedChallenger(world, story, chapter.challengerMs)
  world.narrator.act(4, 'More live traffic')
  await nextDays(world, chapter.faultyMs)
  await faultyChallenger(world, story, chapter.faultyMs)
  return story
}

/** Finishes a retraining or release that Temporal kept while the demo was stopped. */
async function finishInterrupted(world: DemoWorld): Promise<void> {
  const { narrator, store } = world
  const retrained = await finishRetraining(world)
  const version = retrained?.retraining.outcome === 'released' ? retrained.retraining.version : undefined
  const open =
    version !== undefined ? await awaitApproval(world, version) : await findOpenRelease(store, demoModel)
  if (open === undefined) return
  narrator.print(`Continuing the interrupted release of ${open.state.version}`)
  if ((await findChampion(store, demoModel)) !== undefined) world.flow(paces.releasing)
  if (version !== undefined) await approveByApi(world, open)
  else if (open.state.stage === 'qualifying' || open.state.stage === 'awaiting_approval')
    await approveByApi(world, await awaitApproval(world, open.state.version))
  const ended = await followRelease(world, open.state.id)
  narrator.print(`${ended.state.version}: ${outcomeText(String(ended.outcome))} (${ended.reason ?? ''})`)
}

async function firstChampion(world: DemoWorld, story: DemoResult): Promise<void> {
  const { narrator, store, progress } = world
  narrator.act(1, 'First champion')
  const champion = await findChampion(store, demoModel)
  if (champion !== undefined) {
    narrator.print(`${champion.version} is champion since ${utcMinute(Date.parse(champion.since))}`)
    return
  }
  const { retraining, evaluation } = await trainChallenger(world, progress.replayedToMs)
  if (retraining.outcome !== 'released' || retraining.version === undefined)
    throw new Error(`the first version was not released: ${retraining.outcome}, ${retraining.message}`)
  narrator.done('No champion yet: the version must meet absolute floors and get an approval.')
  const release = await awaitApproval(world, retraining.version)
  await approveByApi(world, release)
  const ended = await followRelease(world, release.state.id)
  await conclude(world, story, { ended, evaluation, outcome: 'promoted', champion: ended.state.version })
}

/** Replays a fixed number of requests until a date. */
async function nextDays(world: DemoWorld, untilMs: number): Promise<void> {
  const { narrator } = world
  const fromMs = Math.max(world.replay?.nowMs() ?? 0, world.progress.replayedToMs)
  const flights = ((untilMs - fromMs) / dayMs) * flightsPerDay
  const everyNth = Math.max(1, Math.round(flights / passing.requests))
  const replay = world.flow({ requestsPerSecond: passing.requestsPerSecond, everyNth, untilMs })
  const before = replay.counts()
  const passed = async () => {
    while (replay.nowMs() < untilMs) await pause(100)
  }
  await narrator.during(() => {
    const { requests, outcomes } = replay.counts()
    const nowMs = Math.max(replay.nowMs(), fromMs)
    const counts = `${countText(requests - before.requests)} requests, ${countText(outcomes - before.outcomes)} outcomes`
    return `${narrator.bar((nowMs - fromMs) / (untilMs - fromMs))} ${timeText(nowMs)}  ${counts}`
  }, passed())
  world.flow({ ...paces.training, untilMs: untilMs + noonMs })
  await world.saveProgress()
}

async function promotedChallenger(world: DemoWorld, story: DemoResult, asOfMs: number): Promise<void> {
  const { narrator } = world
  narrator.act(3, 'A challenger is promoted')
  const found = await challenger(world, story, asOfMs)
  if (found === undefined) return
  const { release, evaluation, fromMs } = found
  narrator.print(`Rollout plan of ${release.state.version}: ${stagesOf(release.state)}`)
  await approveBySignal(world, release)
  world.flow({ ...paces.releasing, fromMs })
  const ended = await followRelease(world, release.state.id, {
    resumeReason: 'it is better on the same rows, so its answers may differ',
  })
  await conclude(world, story, { ended, evaluation, outcome: 'promoted', champion: ended.state.version })
  world.flow(paces.training)
}

async function faultyChallenger(world: DemoWorld, story: DemoResult, asOfMs: number): Promise<void> {
  const { narrator, store } = world
  narrator.act(5, 'A faulty challenger is rolled back')
  const found = await challenger(world, story, asOfMs)
  if (found === undefined) return
  const { release, evaluation, fromMs } = found
  const { version, id } = release.state
  const champion = (await findChampion(store, demoModel))?.version
  await approveByApi(world, release)
  world.flow({ ...paces.releasing, fromMs })
  let injected = false
  const injectFault = async ({ stage }: ReleaseState) => {
    if (stage !== 'canary' || injected) return
    injected = true
    await writeFaults(store, { [version]: { invalidShare: faultShare } })
    narrator.print(`Fault injected: ${faultShare * 100} % of the responses of ${version} become invalid.`)
  }
  const ended = await followRelease(world, id, { onStage: injectFault })
  await writeFaults(store, {})
  const rollbackFigures = rollbackFiguresOf(world, ended)
  if (rollbackFigures !== undefined) narrator.print(...rollbackLines(rollbackFigures))
  await conclude(world, story, {
    ended,
    evaluation,
    rollbackFigures,
    outcome: 'rolled_back',
    champion,
  })
  world.flow(paces.training)
}

/**
 * Retrains until a challenger passes the gate, at most `maxTries` times a week apart, and returns it with the time of the first flight of its
 * release. The first run requires one to pass.
 */
async function challenger(
  world: DemoWorld,
  story: DemoResult,
  firstAsOfMs: number,
): Promise<{ release: Release; evaluation?: Evaluation; fromMs: number } | undefined> {
  const { narrator, progress } = world
  for (let tries = 1, asOfMs = firstAsOfMs; ; tries += 1, asOfMs += 7 * dayMs) {
    const { retraining, evaluation } = await trainChallenger(world, asOfMs)
    if (retraining.outcome === 'released' && retraining.version !== undefined) {
      narrator.done(
        `${retraining.version} passed the gate${evaluation === undefined ? '' : `: ${gateVerdictText(evaluation.verdict, { isFirst: evaluation.baselineVersion === undefined })}`}`,
      )
      const release = await awaitApproval(world, retraining.version)
      return { release, evaluation, fromMs: asOfMs + noonMs }
    }
    if (retraining.outcome !== 'not_better' && retraining.outcome !== 'insufficient')
      throw new Error(`the retraining ended as ${retraining.outcome}: ${retraining.message}`)
    narrator.print(`Not released (${outcomeText(retraining.outcome)}): ${retraining.message}`)
    if (tries === maxTries) break
    await nextDays(world, asOfMs + 7 * dayMs)
  }
  narrator.print('No challenger passed the gate; the champion stays.')
  if (progress.runs === 0) story.failures.push('no challenger passed the gate')
  return undefined
}

interface Ending {
  ended: Release
  evaluation?: Evaluation
  rollbackFigures?: RollbackFigures
  /** The expected outcome. */
  outcome: string
  champion: string | undefined
}

/** Prints the end of an act and records deviations from the expected outcome. */
async function conclude(world: DemoWorld, story: DemoResult, ending: Ending): Promise<void> {
  const { narrator, store } = world
  const { ended, evaluation, rollbackFigures } = ending
  const { version } = ended.state
  const champion = (await findChampion(store, demoModel))?.version
  const wrong = [
    ...(ended.outcome === ending.outcome
      ? []
      : [`${version}: expected ${ending.outcome}, got ${ended.outcome}: ${ended.reason}`]),
    ...(champion === ending.champion ? [] : [`expected champion ${ending.champion}, got ${champion}`]),
  ]
  story.failures.push(...wrong)
  for (const text of wrong) narrator.wrong(text)
  if (wrong.length === 0)
    narrator.done(`${version}: ${outcomeText(String(ended.outcome))}. Champion: ${champion}`)
  story.versions.push({
    version,
    outcome: String(ended.outcome),
    auc: evaluation === undefined ? '–' : metricOf(evaluation, 'auc'),
    brier: evaluation === undefined ? '–' : metricOf(evaluation, 'brier'),
    rollbackFigures,
  })
}
