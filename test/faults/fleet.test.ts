/**
 * Tests three replicas as real processes on one port under load, as a short run of `npm run bench -- fleet`.
 * A rolling restart loses no request, a kill loses only requests in flight, and every replica follows a rollback and a kill switch.
 */
import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { measureKills, measureRolls } from '../support/fleet/port.ts'
import { measureRestored } from '../support/fleet/restored.ts'
import { createCheck, measureRollbacks } from '../support/fleet/rollbacks.ts'
import {
  fleetModel,
  openFleetStage,
  registerChampions,
  routeTo,
  row,
  type FleetStage,
} from '../support/fleet/fleet-stage.ts'
import { measureShares } from '../support/fleet/arms.ts'
import { until } from '../support/serving/serving-fixture.ts'

const replicas = 3
let stage: FleetStage
let versions: string[]
beforeAll(async () => {
  stage = await openFleetStage({ replicas, leaseMs: 5_000 })
  versions = await registerChampions(stage, 5)
  await routeTo(stage, versions.at(-1)!, versions.at(-2)).catch((error: unknown) => {
    process.stderr.write(`${stage.lines.slice(-60).join('\n')}\n`)
    throw error
  })
})
afterAll(async () => {
  await stage?.stop()
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stderr.write(`${stage.lines.slice(-60).join('\n')}\n`)
})
const port = () => ({ system: stage, model: fleetModel, row, callers: 6 })

it('every replica accepts connections of the shared port, and reports its own figures on its own port', async () => {
  const headers = { authorization: `Bearer ${stage.key}`, 'content-type': 'application/json' }
  const body = JSON.stringify({ instances: [row] })
  /**
   * The kernel distributes connections; with many concurrent connections every replica gets some. On a loaded machine a replica may
   * refuse some of them as overloaded.
   */
  const askAtOnce = () =>
    Promise.all(
      Array.from({ length: 30 }, async () => {
        const answer = await fetch(`${stage.sharedUrl}/v1/models/${fleetModel}/predict`, {
          method: 'POST',
          headers: { ...headers, connection: 'close' },
          body,
        })
        const text = await answer.text()
        if (answer.status !== 200) expect(JSON.parse(text)).toMatchObject({ code: 'overloaded' })
      }),
    )
  const answered = async (url: string) => {
    await askAtOnce()
    const metrics = await fetch(`${url}/metrics`, { headers })
    return /^tenure_predictions_total\{.*result="answered"\} [1-9]/m.test(await metrics.text())
  }
  for (const url of stage.urls) await until(() => answered(url), `answers of ${url}`)
  const slots = await Promise.all(
    stage.urls.map((_, index) =>
      readFile(`${stage.config.stateDir}/cache/routing-${index + 1}.signed`, 'utf8'),
    ),
  )
  expect(slots).toHaveLength(replicas)
})

it('a rolling restart fails no request', async () => {
  const { failed, failures } = await measureRolls(port(), { rounds: 1, answers: 2_000 })
  expect(failures).toEqual([])
  expect(failed).toBe(0)
})

it('a kill fails no request except those in flight', async () => {
  const { late, mostOfOneKill } = await measureKills(port(), { kills: 2, settleMs: 200 })
  expect(late).toBe(0)
  expect(mostOfOneKill).toBeLessThanOrEqual(6)
})

it('no response comes from a version after its rollback was acknowledged', async () => {
  const found = await measureRollbacks(stage, {
    orders: 3,
    answersEach: 500,
    callersEach: 2,
    // The first order follows the start of a killed replica closely: the response must name it.
    keptOrders: [0, 2],
  })
  expect(found).toMatchObject({ orders: 3, problems: [], violations: 0, examples: [], firstFailures: [] })
  expect(found.kept).toBeGreaterThan(0)
  expect(found.checked).toBeGreaterThan(1_500)
})

it('the check of the responses detects a response of a rolled-back version', () => {
  const check = createCheck()
  const answer = (version: string, generation: number, sentMs: number) =>
    check.look({ version, generation, sentMs, target: 0, routingKey: '' })
  answer('v2', 1, 1)
  check.acknowledge({ atMs: 10, from: 'v2', generation: 2 })
  answer('v2', 1, 9)
  answer('v1', 2, 11)
  expect(check.violations).toEqual([])
  answer('v2', 1, 11)
  answer('v2', 3, 12)
  answer('v3', 2, 13)
  expect(check.violations.map(({ why }) => why)).toEqual([
    'generation 1 after 2 was acknowledged',
    'v2 after its rollback',
    'v3 at generation 2, which is that of v1',
  ])
  check.keep({ atMs: 20, from: 'v1', generation: 2 })
  answer('v0', 2, 21)
  expect(check.violations).toHaveLength(3)
  answer('v1', 2, 21)
  check.acknowledge({ atMs: 30, from: 'v1', generation: 3 })
  answer('v1', 2, 22)
  answer('v0', 2, 31)
  expect(check.violations.slice(3).map(({ why }) => why)).toEqual([
    'v1 after its rollback',
    'v1 after its rollback',
    'generation 2 after 3 was acknowledged',
  ])
})

it('the check accepts a response of a replica that stores a rollback before its sender is answered, and of no other replica', () => {
  const check = createCheck()
  const answer = (version: string, generation: number, sentMs: number) =>
    check.look({ version, generation, sentMs, target: 0, routingKey: '' })
  answer('v3', 1, 1)
  check.order(1)
  answer('v2', 1, 2)
  check.keep({ atMs: 3, from: 'v3', generation: 1 })
  check.acknowledge({ atMs: 4, from: 'v3', generation: 2 })
  answer('v2', 2, 5)
  expect(check.violations).toEqual([])
  check.order(2)
  answer('v1', 2, 6)
  expect(check.violations).toEqual([])
  check.acknowledge({ atMs: 7, from: 'v2', generation: 3 })
  expect(check.violations.map(({ why }) => why)).toEqual(['v1 at generation 2, which is that of v2'])
})

it('a database restored from a backup moves no replica back, and a raised epoch moves every replica forward', async () => {
  const found = await measureRestored(stage, [versions[0]!, versions[1]!])
  expect(found).toMatchObject({ movedBack: 0, failures: 0 })
  expect(found.afterTheEpochWasRaised.epoch).toBe(found.backup.epoch + 1)
})

it('the traffic shares match the route, and a larger share moves no key back', () => {
  const [none, ...some] = measureShares(100_000, [0, 100, 2_500, 10_000])
  expect(none?.canaries).toBe(0)
  for (const { off, bound, movedBack } of some) {
    expect(Math.abs(off)).toBeLessThanOrEqual(bound)
    expect(movedBack).toBe(0)
  }
})
