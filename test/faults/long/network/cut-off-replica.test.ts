/**
 * Tests one of three replicas cut off from Postgres, in both directions and in either. First, a release exposes its candidate to half of
 * the traffic and renews the exposure for the other replicas; then during a rollback.
 */
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { measureCut, playCanary, playChampion, type Canary, type Played } from '../../../support/fleet/cut.ts'
import { openProxyLine, type ProxyLine } from '../../../support/fleet/proxy.ts'
import { openFleetStage, type FleetStage } from '../../../support/fleet/fleet-stage.ts'
import { expectWithin, expectWithinLease, reached } from '../../figures.ts'

const leaseMs = 5_000
const forMs = 8_000
const ways = [
  ['requests and replies', { requests: true, replies: true }],
  ['requests', { requests: true, replies: false }],
  ['replies', { requests: false, replies: true }],
] as const

let stage: FleetStage
let line: ProxyLine
let played: Played
let canary: Canary
const exposed: number[] = []
const converged: number[] = []
beforeAll(async () => {
  stage = await openFleetStage({
    replicas: 3,
    leaseMs,
    async replicaEnvironments({ databaseUrl }): Promise<Record<string, string>[]> {
      line = await openProxyLine(databaseUrl)
      return [{}, {}, { DATABASE_URL: line.url }]
    },
  })
  played = await playChampion(stage, 'pulse')
  canary = await playCanary(stage, played)
})
afterAll(async () => {
  await stage?.stop()
  line?.close()
  if (exposed.length > 0)
    reached(
      'F17',
      `last answer by the candidate ${Math.max(...exposed)} ms after the cut at most (lease ${leaseMs} ms), in step again ${Math.max(...converged)} ms after healing at most`,
    )
})
afterEach((context) => {
  line.heal()
  if (context.task.result?.state === 'fail') process.stderr.write(`${stage.lines.slice(-60).join('\n')}\n`)
})

it.each(ways)(
  'a replica cut off from Postgres (%s) drops the candidate and recovers',
  async (_way, directions) => {
    const found = await measureCut(stage, line, canary, { directions, rollsBack: false, forMs })
    exposed.push(found.exposedForMs)
    converged.push(found.convergedMs)
    expectWithinLease(found.exposedForMs, leaseMs)
    expect(found.championAnswersWhileCut).toBeGreaterThan(100)
    expect(found.candidateAnswersOfTheOthers).toBeGreaterThan(100)
    expect(found).toMatchObject({ otherAnswersWhileCut: [], failures: 0 })
  },
)

it('a replica cut off during a rollback never serves the candidate again', async () => {
  const [, directions] = ways[0]
  const found = await measureCut(stage, line, canary, { directions, rollsBack: true, forMs })
  exposed.push(found.exposedForMs)
  converged.push(found.convergedMs)
  expectWithinLease(found.exposedForMs, leaseMs)
  expect(found).toMatchObject({ candidateAnswersAfterAcknowledged: 0, otherAnswersWhileCut: [], failures: 0 })
})

it('each cut ends with the replica in step again', () => {
  expect(converged).toHaveLength(ways.length + 1)
  for (const each of converged) expectWithin(each, 2_000)
})
