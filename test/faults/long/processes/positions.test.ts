/**
 * Tests one of three replicas restarted without the model, or with older code, at every position of a release. The release stops, names the
 * replica and its host, and continues automatically once the replica is like the others.
 */
import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { sayTo } from '../../../support/fleet/fleet-stage.ts'
import type { ReleaseState } from '../../../../domain/release/state.ts'
import { checkout } from '../../../../temporal.config.ts'
import { reached } from '../../figures.ts'
import { openShow, showPolicy, type Show } from '../../../support/fleet/fleet-fixture.ts'
import type { FixtureRelease } from '../../../support/release/release-fixture.ts'
import { startCallers, withEnvironment, type Callers } from '../../../support/servers/system-fixture.ts'

/** The replica that differs from the others. */
const place = 1
const lame = 'api-2'
const step = { minMs: 2_500, minRequests: 20, deadlineMs: 120_000 }
const policy = {
  ...showPolicy,
  shadow: { ...step, shareBp: 10_000 },
  stages: [
    { ...step, shareBp: 2_000 },
    { ...step, shareBp: 5_000 },
  ],
  probation: { ...step, holdbackBp: 1_000 },
  watch: { ...showPolicy.watch, acknowledgeMs: 2_000, decisionMs: 120_000 },
  limits: { ...showPolicy.limits, maxStaleMs: 2_000 },
}
const positions = [
  ['qualifying', 0],
  ['shadow', 0],
  ['canary', 0],
  ['canary', 1],
  ['probation', 0],
] as const

let show: Show
let callers: Callers
let home: string
const held: string[] = []
beforeAll(async () => {
  show = await openShow(
    {
      replicas: 3,
      // As in production: uncompiled code takes time to start.
      leaseMs: 5_000,
      async changes({ stateDir }) {
        home = join(stateDir, 'lame')
        mkdirSync(home)
        makeOldCode(join(home, 'old-code'))
        mkdirSync(join(home, 'nothing'))
        point('code', checkout)
        point('artifacts', join(stateDir, 'artifacts'))
        const variables = {
          TENURE_STATE: join(home, 'state'),
          TENURE_ARTIFACTS: join(home, 'artifacts'),
          TENURE_KEYS: join(stateDir, 'keys'),
        }
        return (spec) =>
          spec.name === lame ? { ...withEnvironment(spec, variables), cwd: join(home, 'code') } : spec
      },
    },
    { policy },
  )
  // Only the other replicas; the lagging replica may respond differently.
  callers = startCallers([show.system.urls[0]!, show.system.urls[2]!], show.model)
})
afterAll(async () => {
  await callers?.stop()
  await show?.system.stop()
  if (held.length > 0)
    reached(
      'F34',
      `held and named at ${held.length} of ${2 * positions.length} positions: ${held.join(', ')}`,
    )
})
afterEach((context) => {
  if (context.task.result?.state === 'fail')
    process.stderr.write(`${show.system.lines.slice(-80).join('\n')}\n`)
})

it.each([
  ['without the model', withoutModel, /no such|ENOENT|cannot|not found|artifact/i],
  ['with older code', withOldCode, /the field guard is unknown/],
])(
  'a replica %s holds the release at every position, and the release names it',
  async (kind, makeLame, why) => {
    const champion = await show.champion()
    await makeLame()
    const { release, version } = await show.approved()
    for (const [at, position] of positions.entries()) {
      const [stage, index] = position
      if (at > 0) {
        // An operator holds the release at this position until the replica has returned.
        await expect.poll(async () => (await release.state()).routed).toBe(true)
        await makeLame()
        await untilRefused()
        await release.say('resume', 'anna')
      }
      const who = await idOfLame()
      const seen = await expectHeld(release, who)
      expect(seen.said).toMatch(why)
      expect(seen.said).toContain(`replica ${who} on ${hostname()}`)
      const where = at === 0 ? (['shadow', 0] as const) : position
      expect([seen.state.stage, seen.state.stageIndex]).toEqual(
        where[0] === 'canary' ? where : [where[0], seen.state.stageIndex],
      )
      held.push(`${kind} at ${stage}${stage === 'canary' ? ` ${index + 1}` : ''}`)
      // The release does not advance.
      await pause(step.minMs)
      const still = await release.state()
      expect([still.stage, still.stageIndex]).toEqual([seen.state.stage, seen.state.stageIndex])
      await Promise.all([makeWell(), pausedAt(release, positions[at + 1])])
    }
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    expect(await show.champion()).toBe(version)
    expect(champion).not.toBe(version)
    expect(callers.failures).toEqual([])
  },
)

/** Stops the release as soon as it reaches the position. */
async function pausedAt(
  release: FixtureRelease,
  position: (typeof positions)[number] | undefined,
): Promise<void> {
  if (position === undefined) return
  const [stage, index] = position
  await release.reaches(stage, stage === 'canary' ? index : undefined)
  await release.say('pause', 'olga')
}

/** Waits until the lagging replica reports that it cannot follow. Reads its id again, because its predecessor may seem live. */
async function untilRefused(): Promise<void> {
  const problems = async () =>
    show.system.store.query(
      sql`select problem from routing_acknowledgements where replica_id = ${await idOfLame()} and problem is not null`,
    )
  await expect.poll(async () => (await problems()).length).toBe(1)
}

interface Held {
  state: ReleaseState
  said: string
}

/** Waits until the release names the replica that holds it, if the stage is routed or watched. */
async function expectHeld(release: FixtureRelease, who: string): Promise<Held> {
  const say = sayTo(show.system.urls[0]!, show.key)
  const seen: Held = { state: await release.state(), said: '' }
  await expect
    .poll(async () => {
      const told = (await say('GET', `/v1/releases/${release.id}`)) as {
        state: ReleaseState
        decisions: { reasons: { code: string; message: string }[] }[]
      }
      seen.state = told.state
      const reasons = told.decisions[0]?.reasons.filter(({ code }) => code === 'replica_lagging') ?? []
      seen.said = (told.state.routed ? reasons.map(({ message }) => message) : told.state.blockedBy).join(
        '; ',
      )
      return seen.said
    })
    .toContain(who)
  return seen
}

async function idOfLame(): Promise<string> {
  const find = () =>
    show.system.store.query<{ id: string }>(sql`
      select id from replicas where url = ${show.system.urls[place]} and lease_until > clock_timestamp()
      order by started_at desc limit 1`)
  await expect.poll(async () => (await find()).length).toBe(1)
  return (await find())[0]!.id
}

/** Removes its artifacts and its caches. */
async function withoutModel(): Promise<void> {
  point('artifacts', join(home, 'nothing'))
  rmSync(join(home, 'state', 'cache'), { recursive: true, force: true })
  await show.system.supervision.restart(lame)
}

async function withOldCode(): Promise<void> {
  point('code', join(home, 'old-code'))
  await show.system.supervision.restart(lame)
}

async function makeWell(): Promise<void> {
  point('artifacts', show.system.config.artifactRoot)
  point('code', checkout)
  await show.system.supervision.restart(lame)
}

/** Uses one rename, so that no reader finds a missing file. */
function point(name: string, to: string): void {
  const link = join(home, name)
  symlinkSync(to, `${link}.next`)
  renameSync(`${link}.next`, link)
}

/** Makes a copy of the code that does not know one field of release routes, as before the field was added. */
function makeOldCode(root: string): void {
  mkdirSync(root)
  for (const part of [
    'activities',
    'api',
    'cli/build',
    'domain',
    'models',
    'project.mjs',
    'store',
    'workflows',
    'temporal.config.ts',
    'package.json',
    'tsconfig.json',
  ])
    cpSync(join(checkout, part), join(root, part), { recursive: true })
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'))
  const file = join(root, 'api/serving/routing/route-follower.ts')
  const text = readFileSync(file, 'utf8')
  const field = /^ {4}guard: .*\n/m
  if (!field.test(text)) throw new Error(`${file} does not hold ${field}`)
  writeFileSync(file, text.replace(field, ''))
}
