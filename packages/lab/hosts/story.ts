/**
 * Runs the release story on hosts, under load and with faults: all hosts are upgraded mid-canary, each link is cut at each stage, a
 * replica's and a worker's host are lost, and the data host is away. Reports how each release ends, the results of predictions, and how
 * fast orders reach the replicas.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { seededRandom } from '@tenure/sequential'
import { verifyAudit } from '../../../store/audit/audit-log.ts'
import { writeFaults } from '../../../store/serving/replicas.ts'
import type { Cut, HostName } from './network.ts'
import { measureOrders, type OrderFigures } from './orders.ts'
import { approve, hostsPolicy, releaseEnd, followed, releaseAt, trainRelease } from './people.ts'
import { askAllTheTime, type Predictions } from './predictions.ts'
import type { Site } from './site.ts'

/** The first one begins with an earlier build on all hosts. */
export const sceneNames = ['upgrade', 'cuts', 'bad', 'lost', 'away'] as const
export type StoryScene = (typeof sceneNames)[number]

export interface HostsStoryOptions {
  /** One release per cut link. */
  scenes: readonly StoryScene[]
  seed: number
  /** Minimum duration of each stage of a release, and of each cut. */
  stageMs: number
  cutMs: number
  /** How long the data host is away. */
  awayMs: number
  /** Minimum duration of a canary stage in which the hosts are upgraded. */
  upgradeMs: number
  orders: number
  /** Number of orders while a replica is cut off from the data host; each waits for its lease. */
  ordersCut: number
  /** Pause between a response and the next request of each of six clients. */
  pauseMs: number
  say: (line: string) => void
}

export interface HostsStoryReport {
  releases: { what: string; wanted: string; outcome: string; predictions: number; failed: number }[]
  cuts: number
  /** Stage of the release when a host ran this build. */
  upgrades: { host: HostName; stage: string }[]
  orders: OrderFigures
  ordersCut: OrderFigures
  answered: number
  failed: Record<string, number>
  wrong: string[]
  audit: string
}

/** The links of the plan; the replicas also reach each other. */
const links: readonly [HostName, HostName][] = [
  ['api1', 'data'],
  ['api2', 'data'],
  ['work1', 'data'],
  ['work2', 'data'],
  ['lb', 'api1'],
  ['lb', 'api2'],
  ['api1', 'api2'],
]
/** The share of invalid responses of the bad version. */
const invalidShare = 0.5

export async function playStory(site: Site, options: HostsStoryOptions): Promise<HostsStoryReport> {
  const { store } = site
  const { stageMs, say } = options
  const random = seededRandom(options.seed)
  const report: SceneReport = { releases: [], cuts: 0, upgrades: [] }
  const first = await trainRelease(site, hostsPolicy(stageMs))
  await approve(site, first.state.id)
  const { outcome, reason } = await releaseEnd(site, first.state.id)
  if (outcome !== 'promoted') throw new Error(`the first version: ${outcome} ${reason}`)
  await followed(site)
  say(`${first.state.version} serves`)
  const predictions = askAllTheTime(site, options.pauseMs)
  let promoted = ''
  const release: PlayRelease = async (scene) => {
    const ended = await playRelease(site, predictions, { stageMs, say, ...scene })
    report.releases.push(ended.figures)
    if (ended.figures.outcome === 'promoted') promoted = ended.version
  }
  try {
    const scenes = scenesOf(site, options, { random, report, release })
    for (const scene of options.scenes) await scenes[scene]()
    await followed(site)
    const versions: [string, string] = [first.state.version, promoted]
    const orders = await measureOrders(site, predictions, { versions, orders: options.orders })
    say(`${options.orders} orders: p99 ${Math.round(orders.p99Ms)} ms`)
    const cutOff = { versions, orders: options.ordersCut, cutOff: 'api2' } as const
    const ordersCut = await measureOrders(site, predictions, cutOff)
    await followed(site)
    const { breach } = { breach: undefined, ...(await verifyAudit(store)) }
    await predictions.stop()
    return {
      ...report,
      orders,
      ordersCut,
      answered: predictions.answered(),
      failed: Object.fromEntries(predictions.failed()),
      wrong: predictions.wrong,
      audit: breach === undefined ? 'whole' : String(breach),
    }
  } finally {
    await predictions.stop()
  }
}

type SceneReport = Pick<HostsStoryReport, 'releases' | 'cuts' | 'upgrades'>

/** A release of a new version, and what happens while it runs. */
interface ReleaseScene {
  what: string
  wanted: string
  meanwhile: (id: string, version: string) => Promise<void>
  whileTraining?: () => Promise<void>
  /** Default: `stageMs`. */
  firstCanaryMs?: number
}

type PlayRelease = (scene: ReleaseScene) => Promise<void>

interface SceneDeps {
  random: () => number
  report: SceneReport
  release: PlayRelease
}

function scenesOf(
  site: Site,
  { stageMs, cutMs, awayMs, upgradeMs, say }: HostsStoryOptions,
  { random, report, release }: SceneDeps,
): Record<StoryScene, () => Promise<void>> {
  const { network, store } = site
  const cutEachLink = async (): Promise<void> => {
    for (const [one, other] of shuffled(links, random)) {
      const [from, to] = random() < 0.5 ? [one, other] : [other, one]
      const cut: Cut = { from, to, bothWays: random() < 0.7 }
      network.cut(cut)
      await pause(cutMs)
      network.heal(cut)
      report.cuts++
    }
  }
  const upgradeAll = async (id: string): Promise<void> => {
    await releaseAt(site, id, 'canary')
    await site.command('work1', 'upgrade', 'check')
    await site.command('work1', 'models', 'sync')
    for (const name of ['work1', 'api1', 'work2', 'api2'] as const) {
      await site.upgrade(name)
      const { state } = await releaseAt(site, id, 'canary', 'probation', 'ended')
      report.upgrades.push({ host: name, stage: state.stage })
      say(`${name} runs this build, the release is in ${state.stage} ${state.stageIndex + 1}`)
    }
  }
  return {
    upgrade: () =>
      release({
        what: 'every host upgraded in mid-canary',
        wanted: 'promoted',
        meanwhile: upgradeAll,
        firstCanaryMs: upgradeMs,
      }),
    cuts: () =>
      release({
        what: 'each link cut at each stage',
        wanted: 'promoted',
        whileTraining: cutEachLink,
        async meanwhile(id) {
          for (const stage of ['shadow', 'canary', 'probation']) {
            await releaseAt(site, id, stage)
            await cutEachLink()
          }
        },
      }),
    bad: () =>
      release({
        what: 'a bad version, each link cut',
        wanted: 'rolled_back',
        async meanwhile(id, version) {
          await releaseAt(site, id, 'canary')
          await Promise.all([cutEachLink(), writeFaults(store, { [version]: { invalidShare } })])
        },
      }),
    lost: () =>
      release({
        what: 'the hosts of a replica and of a worker lost',
        wanted: 'promoted',
        async meanwhile(id) {
          for (const [stage, name] of [
            ['canary', 'api1'],
            ['probation', 'work1'],
          ] as const) {
            await releaseAt(site, id, stage)
            await network.hosts[name].lose()
            await pause(stageMs)
            await network.hosts[name].boot()
            await site.start(name)
          }
        },
      }),
    away: () =>
      release({
        what: `the data host away for ${awayMs / 1_000} s`,
        wanted: 'promoted',
        async meanwhile(id) {
          await releaseAt(site, id, 'canary')
          network.unplug('data')
          await pause(awayMs)
          network.plug('data')
        },
      }),
  }
}

/** Runs a release from the training to the end. */
async function playRelease(
  site: Site,
  predictions: Predictions,
  {
    what,
    wanted,
    meanwhile,
    whileTraining,
    stageMs,
    firstCanaryMs = stageMs,
    say,
  }: ReleaseScene & Pick<HostsStoryOptions, 'stageMs' | 'say'>,
): Promise<{ version: string; figures: HostsStoryReport['releases'][number] }> {
  const before = counts(predictions)
  const [{ state }] = await Promise.all([
    trainRelease(site, hostsPolicy(stageMs, firstCanaryMs)),
    whileTraining?.(),
  ])
  const { id, version } = state
  say(`${what}: ${version} is trained`)
  await approve(site, id)
  await meanwhile(id, version)
  const { outcome = 'none' } = await releaseEnd(site, id)
  const generation = await followed(site)
  if (outcome !== 'promoted') predictions.forbid(version)
  predictions.require(generation)
  const after = counts(predictions)
  const figures = { predictions: after.answered - before.answered, failed: after.failed - before.failed }
  say(
    `${what}: ${version} ${outcome}, ${figures.predictions} predictions, failed so far: ${reasonsOf(predictions)}`,
  )
  return { version, figures: { what, wanted, outcome, ...figures } }
}

const reasonsOf = (of: Predictions): string =>
  [...of.failed()].map(([why, times]) => `${why} ${times}`).join(', ') || 'none'

const counts = (of: Predictions) => ({
  answered: of.answered(),
  failed: [...of.failed().values()].reduce((sum, each) => sum + each, 0),
})

function shuffled<T>(list: readonly T[], random: () => number): T[] {
  const left = [...list]
  return list.map(() => left.splice(Math.floor(random() * left.length), 1)[0]!)
}
