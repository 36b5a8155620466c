/** Tests the work of one turn of the event loop, and which work waits for the next. */
import { expect, it } from 'vitest'
import { createByteBudget } from '../src/held-bytes.ts'
import { createTurnEnd, createWorkQueue } from '../src/turn-scheduler.ts'

/** Makes a scheduler with a clock that advances only with work; each piece takes two milliseconds. */
function scene(maxBytes = 1_000) {
  let ms = 0
  const turns = createWorkQueue(() => ms)
  const open = createByteBudget(maxBytes)
  const done: { name: number; waitedMs: number }[] = []
  const take = (name: number, bytes = 10): boolean => {
    const held = open()
    const hold = () => {
      held.add(bytes)
      return held.release
    }
    try {
      turns.enqueue(hold, (waitedMs) => {
        ms += 2
        done.push({ name, waitedMs })
      })
      return true
    } catch {
      return false
    }
  }
  return { turns, done, take }
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('a turn does work for a few milliseconds and the rest in later turns, in order', async () => {
  const { turns, done, take } = scene()
  for (let name = 0; name < 5; name++) expect(take(name)).toBe(true)
  expect(done).toEqual([
    { name: 0, waitedMs: 0 },
    { name: 1, waitedMs: 0 },
  ])
  expect(turns.isIdle()).toBe(false)
  await turn()
  // Arrives while others wait, and waits after them.
  take(5)
  expect(done.map(({ name }) => name)).toEqual([0, 1, 2, 3])
  await turn()
  expect(done.slice(2)).toEqual([
    { name: 2, waitedMs: 0 },
    { name: 3, waitedMs: 2 },
    { name: 4, waitedMs: 4 },
    { name: 5, waitedMs: 2 },
  ])
  expect(turns.isIdle()).toBe(true)
  take(6)
  expect(done.at(-1)).toEqual({ name: 6, waitedMs: 0 })
})

it('queued work is bounded in bytes', async () => {
  const { done, take } = scene(100)
  for (let name = 0; name < 12; name++) expect(take(name)).toBe(true)
  expect(take(12, 1)).toBe(false)
  await turn()
  expect(done).toHaveLength(4)
  expect(take(13, 20)).toBe(true)
  expect(take(14, 1)).toBe(false)
})

it('a queue that never becomes empty does not grow', async () => {
  const { done, take, turns } = scene()
  for (let name = 0; name < 10; name++) take(name)
  for (let name = 10; name < 3_000; name += 2) {
    take(name)
    take(name + 1)
    await turn()
  }
  expect(turns.isIdle()).toBe(false)
  expect(done.map(({ name }) => name)).toEqual(Array.from({ length: done.length }, (_, name) => name))
})

it('work of a turn is done together at its end, in order, and earlier when enough of it waits', async () => {
  const atEnd = createTurnEnd(3)
  const done: number[] = []
  const give = (name: number): void => atEnd(() => void done.push(name))
  give(0)
  give(1)
  expect(done).toEqual([])
  await turn()
  expect(done).toEqual([0, 1])
  for (const name of [2, 3, 4, 5]) give(name)
  expect(done).toEqual([0, 1, 2, 3, 4])
  await turn()
  expect(done).toEqual([0, 1, 2, 3, 4, 5])
})
