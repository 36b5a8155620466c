/** Tests workflows in virtual time, each in a process of its own: at least once, replays, updates, signals, cancellation, and the same run from a seed. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

interface Told {
  closed?: { kind: string; result?: unknown }
  charges: number
  answers: unknown[]
  failures: string[]
  trace: string[]
}

const program = fileURLToPath(new URL('support/orders.ts', import.meta.url))
const simulate = (name: string, seed = 1): Told =>
  JSON.parse(
    execFileSync(process.execPath, ['--import', 'tsx', program, name, String(seed)], { encoding: 'utf8' }),
  ) as Told

it('a workflow ends with what its activity returned, after a day of its own time', () =>
  expect(simulate('order')).toMatchObject({
    closed: { kind: 'completed', result: { charged: 30, days: expect.closeTo(1, 3) as number } },
    charges: 1,
  }))

it('a worker that crashes after the work and before its report makes the activity run again', () =>
  expect(simulate('crash')).toMatchObject({ closed: { kind: 'completed' }, charges: 2 }))

it('an activity that fails is tried as often as its policy says, and then fails the workflow', () =>
  expect(simulate('failing')).toMatchObject({ closed: { kind: 'failed' }, charges: 3 }))

it('an update is executed once for each id, and a signal is seen', () =>
  expect(simulate('basket')).toMatchObject({
    closed: { kind: 'completed', result: 3 },
    answers: [{ result: 1 }, { result: 3 }],
  }))

it('a cancelled workflow leaves its activity and cleans up', () =>
  expect(simulate('cancelled')).toMatchObject({ closed: { kind: 'completed', result: 7 }, charges: 1 }))

it('a replay that asks for other commands than the first run fails the task', () => {
  const { closed, failures } = simulate('random')
  expect(closed).toBeUndefined()
  expect(failures[0]).toMatch(/^a replay asks for scheduleActivity where the first run asked for startTimer$/)
})

it('a seed gives the same run again, and another seed another one', () => {
  const [first, again, other] = [simulate('order', 5), simulate('order', 5), simulate('order', 6)]
  expect(first.trace.length).toBeGreaterThan(1)
  expect(again).toEqual(first)
  expect(other.trace).not.toEqual(first.trace)
})
