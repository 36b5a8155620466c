/** Tests the queue of events: its order, and what crashed, frozen and unreachable machines do. */
import { expect, it } from 'vitest'
import { createWorld, type World } from '../src/world.ts'

const play = (world: World): Promise<void> =>
  world.run(
    10_000,
    () => {},
    () => false,
  )

it('runs events in the order of their times, and those of one time in the order in which they were scheduled', async () => {
  const world = createWorld(1)
  const done: string[] = []
  for (const [name, ms] of [
    ['late', 20],
    ['first', 10],
    ['second', 10],
  ] as const)
    world.after(undefined, ms, () => done.push(`${name} at ${world.now()}`))
  world.after(undefined, 15, () => done.push('cancelled'))()
  await play(world)
  expect(done).toEqual(['first at 10', 'second at 10', 'late at 20'])
  expect(world.now()).toBe(10_000)
})

it('drops the events of a process that has crashed, also when its machine starts again', async () => {
  const world = createWorld(1)
  const machine = world.machine('worker')
  const done: string[] = []
  world.after(machine, 10, () => done.push('before'))
  world.after(machine, 30, () => done.push('of the old process'))
  world.after(undefined, 20, () => {
    world.crash(machine)
    world.start(machine)
    world.after(machine, 30, () => done.push('of the new process'))
  })
  await play(world)
  expect(done).toEqual(['before', 'of the new process'])
})

it('keeps the events of a frozen machine until it wakes up', async () => {
  const world = createWorld(1)
  const machine = world.machine('worker')
  const done: number[] = []
  world.freeze(machine, 500)
  world.after(machine, 10, () => done.push(world.now()))
  await play(world)
  expect(done).toEqual([500])
})

it('delivers messages by the links alone: late on slow ones, never on cut ones', async () => {
  const arrivals = async (change: (world: World) => void): Promise<number[]> => {
    const world = createWorld(3)
    const [from, to] = [world.machine('a'), world.machine('b')]
    change(world)
    const done: number[] = []
    for (let i = 0; i < 20; i++) world.send(from, to, () => done.push(world.now()))
    await play(world)
    return done
  }
  const plain = await arrivals(() => {})
  expect(plain).toHaveLength(20)
  expect(Math.max(...plain)).toBeLessThan(1)
  expect(Math.max(...(await arrivals((world) => world.slow(300))))).toBeGreaterThan(100)
  expect(await arrivals((world) => world.cut('a', 'b', true))).toEqual([])
  expect(await arrivals((world) => world.cut('b', 'a', true))).toEqual(plain)
})

it('an error in an event ends the run', () => {
  const world = createWorld(1)
  world.after(undefined, 1, () => {
    throw new Error('broken')
  })
  return expect(play(world)).rejects.toThrow('broken')
})
