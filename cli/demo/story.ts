/**
 * The story: a first champion, a challenger that earns its place, and one that does not. Each act does with the running
 * system what its people would do, and ends with what Postgres says has become of it.
 */
import type { ReleaseState } from '../../domain/release/state.ts'
import { findChampion } from '../../store/registry/champions.ts'
import type { Evaluation } from '../../store/training/evaluations.ts'
import { findOpenRelease, type Release } from '../../store/release/releases.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { approveByApi, approveBySignal, awaitApproval, followRelease, stagesOf } from './releasing.ts'
import { comparisonOf, metricOf, rollbackLines, rollbackFiguresOf, type RollbackFigures } from './figures.ts'
import { timeText, whole } from './narrator.ts'
import { chapterAfter } from './progress.ts'
import { finishRetraining, trainChallenger } from './retraining.ts'
import { demoModel, type DemoWorld } from './world.ts'

/** One version of the story and what became of it. */
export interface VersionResult {
  version: string
  outcome: string
  /** Each with the champion's on the same rows. */
  auc: string
  brier: string
  rollbackFigures?: RollbackFigures
}

export interface DemoResult {
  versions: VersionResult[]
  /** What ended otherwise than told. */
  wrong: string[]
}

/** Weeks pass between the acts; while a candidate meets callers every flight counts. */
const paces = {
  training: { requestsPerSecond: 60, everyNth: 1 },
  releasing: { requestsPerSecond: 400, everyNth: 1 },
} as const
/** The time between two acts is told in about this many requests. */
const passing = { requests: 4_000, requestsPerSecond: 300 } as const
const flightsPerDay = 16_500
const dayMs = 86_400_000
/** How many challengers may be kept out by the gate before an act ends without one. */
const mostTries = 3
/** The share of the third version's answers that the fault makes invalid. */
const faultShare = 0.3

export async function tellStory(world: DemoWorld): Promise<DemoResult> {
  const story: DemoResult = { versions: [], wrong: [] }
  await finishWhatWasBegun(world)
  await firstChampion(world, story)
  const chapter = chapterAfter(world.place.replayedToMs)
  if (chapter === undefined) throw new Error('the recorded flights are used up')
  world.narrator.act(2, 'The next weeks, live')
  await nextDays(world, chapter.challengerMs)
  await challengerThatEarnsIt(world, story, chapter.challengerMs)
  world.narrator.act(4, 'More weeks, live')
  await nextDays(world, chapter.faultyMs)
  await challengerThatDoesNot(world, story, chapter.faultyMs)
  return story
}

/** A start after a stop in the middle: Temporal has kept both the retraining and the release. */
async function finishWhatWasBegun(world: DemoWorld): Promise<void> {
  const { narrator, store } = world
  const retrained = await finishRetraining(world)
  const begun = retrained?.retraining.outcome === 'released'
  const open = begun ? await awaitApproval(world) : await findOpenRelease(store, demoModel)
  if (open === undefined) return
  narrator.tell(`The release of ${open.state.version} was under way; it goes on where it was.`)
  if ((await findChampion(store, demoModel)) !== undefined) world.flow(paces.releasing)
  if (begun) await approveByApi(world, open)
  else if (open.state.stage === 'qualifying' || open.state.stage === 'awaiting_approval')
    await approveByApi(world, await awaitApproval(world))
  const ended = await followRelease(world, open.state.id)
  narrator.tell(`${ended.state.version}: ${ended.outcome} (${ended.reason ?? ''})`)
}

async function firstChampion(world: DemoWorld, story: DemoResult): Promise<void> {
  const { narrator, store, place } = world
  narrator.act(1, 'The first champion')
  const champion = await findChampion(store, demoModel)
  if (champion !== undefined) {
    narrator.tell(`${champion.version} is champion since ${champion.since}; the story goes on from there.`)
    return
  }
  const { retraining, evaluation } = await trainChallenger(world, place.replayedToMs)
  if (evaluation !== undefined) narrator.tell(...comparisonOf(evaluation, ['auc', 'brier']).split('\n'))
  if (retraining.outcome !== 'released')
    throw new Error(`the first version was not released: ${retraining.outcome}, ${retraining.message}`)
  narrator.done('It has no champion to beat, so it meets absolute floors and a person.')
  const release = await awaitApproval(world)
  await approveByApi(world, release)
  const ended = await followRelease(world, release.state.id)
  await conclude(world, story, { ended, evaluation, outcome: 'promoted', champion: ended.state.version })
}

/** Replays until a day, in about as many requests however far it is. */
async function nextDays(world: DemoWorld, untilMs: number): Promise<void> {
  const { narrator } = world
  const fromMs = Math.max(world.replay?.nowMs() ?? 0, world.place.replayedToMs)
  const flights = ((untilMs - fromMs) / dayMs) * flightsPerDay
  const everyNth = Math.max(1, Math.round(flights / passing.requests))
  const replay = world.flow({ requestsPerSecond: passing.requestsPerSecond, everyNth })
  const before = replay.counts()
  const passed = async () => {
    while (replay.nowMs() < untilMs) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await narrator.during(() => {
    const { requests, outcomes } = replay.counts()
    const nowMs = Math.max(replay.nowMs(), fromMs)
    const counts = `${whole(requests - before.requests)} requests, ${whole(outcomes - before.outcomes)} outcomes known`
    return `${narrator.bar((nowMs - fromMs) / (untilMs - fromMs))} ${timeText(nowMs)}  ${counts}`
  }, passed())
  world.flow(paces.training)
  await world.keepPlace()
}

async function challengerThatEarnsIt(world: DemoWorld, story: DemoResult, asOfMs: number): Promise<void> {
  const { narrator } = world
  narrator.act(3, 'A challenger that earns its place')
  const found = await challenger(world, story, asOfMs)
  if (found === undefined) return
  const { release, evaluation } = found
  narrator.tell(`The way of ${release.state.version}: ${stagesOf(release.state)}`)
  await approveBySignal(world, release)
  world.flow(paces.releasing)
  const ended = await followRelease(world, release.state.id)
  await conclude(world, story, { ended, evaluation, outcome: 'promoted', champion: ended.state.version })
  world.flow(paces.training)
}

async function challengerThatDoesNot(world: DemoWorld, story: DemoResult, asOfMs: number): Promise<void> {
  const { narrator, store } = world
  narrator.act(5, 'A challenger that does not')
  const found = await challenger(world, story, asOfMs)
  if (found === undefined) return
  const { release, evaluation } = found
  const { version, id } = release.state
  const champion = (await findChampion(store, demoModel))?.version
  await approveByApi(world, release)
  world.flow(paces.releasing)
  let faulty = false
  const breakIt = async ({ stage }: ReleaseState) => {
    if (stage !== 'canary' || faulty) return
    faulty = true
    await writeFaults(store, { [version]: { invalidShare: faultShare } })
    narrator.tell(
      `The fault is switched on: ${faultShare * 100} % of the answers of ${version} become invalid.`,
    )
  }
  const ended = await followRelease(world, id, breakIt)
  await writeFaults(store, {})
  const takeBack = rollbackFiguresOf(world, ended)
  if (takeBack !== undefined) narrator.tell(...rollbackLines(takeBack))
  await conclude(world, story, {
    ended,
    evaluation,
    rollbackFigures: takeBack,
    outcome: 'rolled_back',
    champion,
  })
  world.flow(paces.training)
}

/**
 * Retrains, and a week later again when the gate keeps the challenger out. In the first telling one must come through;
 * later ones may meet a champion that nothing can be learned against.
 */
async function challenger(
  world: DemoWorld,
  story: DemoResult,
  firstAsOfMs: number,
): Promise<{ release: Release; evaluation: Evaluation | undefined } | undefined> {
  const { narrator, place } = world
  for (let tries = 1, asOfMs = firstAsOfMs; ; tries += 1, asOfMs += 7 * dayMs) {
    const { retraining, evaluation } = await trainChallenger(world, asOfMs)
    if (evaluation !== undefined) narrator.tell(...comparisonOf(evaluation, ['auc', 'brier']).split('\n'))
    if (retraining.outcome === 'released') {
      narrator.done(
        `${retraining.version} is ${evaluation?.verdict.replaceAll('_', ' ')}: it may ask for its release.`,
      )
      return { release: await awaitApproval(world), evaluation }
    }
    if (retraining.outcome !== 'not_better' && retraining.outcome !== 'insufficient')
      throw new Error(`the retraining ended as ${retraining.outcome}: ${retraining.message}`)
    narrator.tell(`The gate keeps it out (${retraining.outcome}): ${retraining.message}`)
    if (tries === mostTries) break
    await nextDays(world, asOfMs + 7 * dayMs)
  }
  narrator.tell('No challenger was good enough, so the champion stays.')
  if (place.told === 0) story.wrong.push('a challenger was to pass the gate, and none did')
  return undefined
}

interface Ending {
  ended: Release
  evaluation: Evaluation | undefined
  rollbackFigures?: RollbackFigures | undefined
  /** As told. */
  outcome: string
  champion: string | undefined
}

/** Tells how an act has ended, and notes what is not as told. */
async function conclude(world: DemoWorld, story: DemoResult, ending: Ending): Promise<void> {
  const { narrator, store } = world
  const { ended, evaluation, rollbackFigures } = ending
  const { version } = ended.state
  const champion = (await findChampion(store, demoModel))?.version
  const wrong = [
    ...(ended.outcome === ending.outcome
      ? []
      : [`${version} was to be ${ending.outcome} and is ${ended.outcome}: ${ended.reason}`]),
    ...(champion === ending.champion ? [] : [`${ending.champion} was to be champion, it is ${champion}`]),
  ]
  story.wrong.push(...wrong)
  for (const text of wrong) narrator.wrong(text)
  if (wrong.length === 0) narrator.done(`${version}: ${ended.outcome}. ${champion} is champion.`)
  story.versions.push({
    version,
    outcome: String(ended.outcome),
    auc: evaluation === undefined ? '–' : metricOf(evaluation, 'auc'),
    brier: evaluation === undefined ? '–' : metricOf(evaluation, 'brier'),
    rollbackFigures,
  })
}
