/**
 * Measures several replicas under load: `npm run bench -- fleet`, or with the names of parts, such as
 * `npm run bench -- fleet kills --kills 20 --every 12` or `links --seeds 20`.
 * Each part starts its own system and prints its figures as JSON; packages/lab/fleet/fleet.md holds those of one run.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { measureReplicas, measureShares } from '../../../test/support/fleet/arms.ts'
import { artifactsOf, linkArtifacts, measureBlocked } from './blocked.ts'
import { measureCut, playCanary, playChampion } from '../../../test/support/fleet/cut.ts'
import { measureKillsAtTwicePeak } from './kills.ts'
import { cutAllLinks, linkedStage } from '../../../test/support/fleet/links.ts'
import { measureKills, measureRolls, measureTakings } from '../../../test/support/fleet/port.ts'
import { cutDirections, openProxyLine, type ProxyLine } from '../../../test/support/fleet/proxy.ts'
import { restartAll } from '../../../test/support/fleet/restart.ts'
import { measureRestored } from '../../../test/support/fleet/restored.ts'
import { measureRollbacks } from '../../../test/support/fleet/rollbacks.ts'
import { openLinkedShow, type LinkedShow } from '../../../test/support/fleet/linked-fleet.ts'
import {
  fleetModel,
  openFleetStage,
  registerChampions,
  routeTo,
  row,
  type FleetStage,
} from '../../../test/support/fleet/fleet-stage.ts'

const { values, positionals } = parseArgs({
  options: {
    /** For the part `kills`: number, and seconds between two kills. */
    kills: { type: 'string', default: '20' },
    every: { type: 'string', default: '12' },
    /** For the part `links`. */
    seeds: { type: 'string', default: '20' },
  },
  allowPositionals: true,
})

const replicas = 3
/** The production value. */
const leaseMs = 5_000
/** Warm-up before the first rollback. */
const standMs = 5_000

const tell = (part: string, figures: unknown): void => console.log(`${part} ${JSON.stringify(figures)}`)

async function on<T>(options: Parameters<typeof openFleetStage>[0], work: (stage: FleetStage) => Promise<T>) {
  const stage = await openFleetStage(options)
  try {
    return await work(stage)
  } catch (error) {
    console.error(stage.lines.slice(-40).join('\n'))
    throw error
  } finally {
    await stage.stop()
  }
}

async function onLinks(
  part: string,
  times: number,
  measure: (show: LinkedShow, time: number) => Promise<unknown>,
): Promise<void> {
  const show = await openLinkedShow(linkedStage)
  try {
    for (let time = 1; time <= times; time++) tell(part, await measure(show, time))
  } finally {
    await show.stop()
  }
}

const parts: Readonly<Record<string, () => Promise<void>>> = {
  async rollbacks() {
    const orders = 100
    await on({ replicas, leaseMs }, async (stage) => {
      const versions = await registerChampions(stage, orders + 1)
      // As after a promotion: every replica has loaded the version to return to.
      await routeTo(stage, versions.at(-1)!, versions.at(-2)!)
      await pause(standMs)
      tell('rollbacks', await measureRollbacks(stage, { orders, answersEach: 10_000, callersEach: 4 }))
    })
  },
  async cut() {
    const lines: ProxyLine[] = []
    const behindLine = async ({ databaseUrl }: { databaseUrl: string }) => {
      lines.push(await openProxyLine(databaseUrl))
      return [{}, {}, { DATABASE_URL: lines[0]!.url }] as Record<string, string>[]
    }
    await on({ replicas, leaseMs, replicaEnvironments: behindLine }, async (stage) => {
      const played = await playChampion(stage, 'pulse')
      let canary = await playCanary(stage, played)
      for (const directions of cutDirections)
        tell(
          'cut',
          await measureCut(stage, lines[0]!, canary, { directions, rollsBack: false, forMs: 9_000 }),
        )
      for (const directions of cutDirections) {
        tell('cut', await measureCut(stage, lines[0]!, canary, { directions, rollsBack: true, forMs: 9_000 }))
        canary = await playCanary(stage, played)
      }
    })
    for (const line of lines) line.close()
  },
  async arms() {
    tell('arms', measureShares(1_000_000, [0, 1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000]))
    await on({ replicas, leaseMs }, async (stage) => {
      const [champion, canary] = (await registerChampions(stage, 2)) as [string, string]
      tell('arms', await measureReplicas(stage, { versions: [champion, canary], answers: 20_000 }))
    })
  },
  async blocked() {
    const separate = ({ stateDir }: { stateDir: string }) => {
      mkdirSync(join(stateDir, 'nothing'), { recursive: true })
      return Promise.resolve(
        Array.from({ length: replicas }, (_, place) => {
          linkArtifacts(stateDir, place, join(stateDir, 'artifacts'))
          return {
            TENURE_STATE: join(stateDir, `replica-${place}`),
            TENURE_ARTIFACTS: artifactsOf(stateDir, place),
            TENURE_KEYS: join(stateDir, 'keys'),
          }
        }),
      )
    }
    await on({ replicas, leaseMs, replicaEnvironments: separate }, async (stage) => {
      const { registry, champion } = await playChampion(stage, 'pulse')
      tell('blocked', await measureBlocked(stage, registry, champion))
    })
  },
  async kills() {
    const options = { kills: Number(values.kills), everyS: Number(values.every) }
    await on({ replicas, leaseMs }, async (stage) =>
      tell('kills', await measureKillsAtTwicePeak(stage, options)),
    )
  },
  restart: () => onLinks('restart', 5, restartAll),
  links: () => onLinks('links', Number(values.seeds), cutAllLinks),
  async restored() {
    await on({ replicas, leaseMs }, async (stage) => {
      const versions = (await registerChampions(stage, 2)) as [string, string]
      tell('restored', await measureRestored(stage, versions))
    })
  },
  async port() {
    for (const count of [1, 2, 3])
      await on({ replicas: count, leaseMs }, async (stage) => {
        const [, version] = (await registerChampions(stage, 2)) as [string, string]
        await routeTo(stage, version)
        const port = { system: stage, model: fleetModel, row, callers: 32 }
        tell('port', { replicas: count, ...(await measureTakings(port, { forMs: 5_000, key: stage.key })) })
        if (count < replicas) return
        tell('rolls', await measureRolls({ ...port, callers: 8 }, { rounds: 3, answers: 100_000 }))
        tell('kills', await measureKills({ ...port, callers: 8 }, { kills: 20, settleMs: 1_000 }))
      })
  },
}

for (const name of positionals.length === 0 ? Object.keys(parts) : positionals) {
  const part = parts[name]
  if (part === undefined)
    throw new Error(`there is no part ${name}; there are ${Object.keys(parts).join(', ')}`)
  await part()
}
