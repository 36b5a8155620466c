/**
 * Tests that a release ends the same way when its worker crashes between two statements. Tries a sample of crash points; `npm run
 * bench -- crash` tries all.
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import {
  openCrashFixture,
  type CrashFixture,
  type Reference,
  type CrashScenarioName,
} from '../support/release/crash.ts'
import { ownServers } from '../support/servers/servers.ts'
import { killPointName, killPointsOf, type KillPoint } from '../support/release/kill-point.ts'

let fixture: CrashFixture
const references = new Map<CrashScenarioName, Reference>()
beforeAll(async () => {
  fixture = await openCrashFixture(await ownServers())
  for (const story of ['promotion', 'rollback'] as const)
    references.set(story, await fixture.reference(story))
})
afterAll(async () => {
  await fixture?.close()
})

/** The steps in which a crash can lose most. */
const sample: readonly [CrashScenarioName, KillPoint][] = [
  ['promotion', { at: 'committed', activity: 'openRelease', run: 1, write: 1 }],
  ['promotion', { at: 'uncommitted', activity: 'promote', run: 1, write: 1 }],
  ['promotion', { at: 'committed', activity: 'promote', run: 1, write: 1 }],
  ['promotion', { at: 'committed', activity: 'route', run: 2, write: 1 }],
  ['promotion', { at: 'after', activity: 'watch', run: 2 }],
  ['promotion', { at: 'task', task: 12 }],
  ['promotion', { at: 'event', event: 40 }],
  ['promotion', { at: 'committed', activity: 'closeRelease', run: 1, write: 1 }],
  ['rollback', { at: 'uncommitted', activity: 'rollBackCandidate', run: 1, write: 1 }],
  ['rollback', { at: 'committed', activity: 'rollBackCandidate', run: 1, write: 1 }],
  ['rollback', { at: 'after', activity: 'rollBackCandidate', run: 1 }],
]

it('a worker that crashes at a given point does not change the end of its release', async () => {
  const todo = [...sample]
  const failures: string[] = []
  let died = 0
  const work = async (slot: number) => {
    for (let each = todo.shift(); each !== undefined; each = todo.shift()) {
      const [story, point] = each
      const tried = await fixture.attempt(slot, story, point, references.get(story)!)
      if (tried.died) died++
      failures.push(...tried.issues.map((issue) => `${story}, ${killPointName(point)}: ${issue}`))
    }
  }
  // Each scenario has its own worker; the first worker also ran the reference releases.
  await Promise.all([0, 1, 2, 3].map(work))
  expect(failures).toEqual([])
  expect(died).toBe(sample.length)
  expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
})

it('the crash points of a release are its events, its tasks, and the start and end of its writes', () => {
  const { events, lived } = references.get('promotion')!
  const names = killPointsOf(events, lived).map(killPointName)
  expect(new Set(names).size).toBe(names.length)
  expect(names).toEqual(
    expect.arrayContaining(['event 1', `event ${events}`, 'workflow task 1', 'promote 1, write 1 committed']),
  )
  expect(lived.deeds.map(({ activity }) => activity)).toEqual(
    expect.arrayContaining([
      'openRelease',
      'qualify',
      'lookAtCommands',
      'route',
      'watch',
      'promote',
      'closeRelease',
    ]),
  )
})
