/** Tests that late connections are closed a few at a time, on a clock that the test advances. */
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createConnectionReaper } from '../src/connection-reaper.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout'] }))
afterEach(() => void vi.useRealTimers())

/** Runs one interval of the reaper. */
const advance = (): void => void vi.advanceTimersByTime(10)

it('closes a hundredth of the late connections at each interval, each once, in order', () => {
  const closeLater = createConnectionReaper()
  const closed: number[] = []
  const sockets = Array.from({ length: 500 }, () => new PassThrough())
  for (let time = 0; time < 2; time++)
    for (const [place, socket] of sockets.entries()) closeLater(socket, () => closed.push(place))
  const perInterval: number[] = []
  while (closed.length < 500 && perInterval.length < 1_000) {
    const before = closed.length
    advance()
    perInterval.push(closed.length - before)
  }
  expect(closed).toEqual(sockets.map((_, place) => place))
  expect([perInterval[0], Math.max(...perInterval), perInterval.at(-1)]).toEqual([5, 5, 1])
  expect(vi.getTimerCount()).toBe(0)
})

it('skips a connection that has closed meanwhile and continues with later ones', () => {
  const closeLater = createConnectionReaper()
  const closed: string[] = []
  const destroyed = new PassThrough()
  closeLater(destroyed, () => closed.push('destroyed'))
  destroyed.destroy()
  closeLater(new PassThrough(), () => closed.push('first'))
  advance()
  advance()
  expect(closed).toEqual(['first'])
  closeLater(new PassThrough(), () => closed.push('second'))
  advance()
  expect(closed).toEqual(['first', 'second'])
})
