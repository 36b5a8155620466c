/** Callers who have been too slow: many are late together, and are not closed together. */
import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { createConnectionReaper } from '../../../api/transport/connection-reaper.ts'
import { until } from '../../support/serving/serving-fixture.ts'

it('closes a hundredth of those who wait at a turn, each once, in the order in which they were late', async () => {
  const seeOff = createConnectionReaper()
  const closed: { place: number; turn: number }[] = []
  let turn = 0
  const count = (): void => {
    turn++
    if (closed.length < 500) setImmediate(count)
  }
  const sockets = Array.from({ length: 500 }, () => new PassThrough())
  for (let time = 0; time < 2; time++)
    for (const [place, socket] of sockets.entries()) seeOff(socket, () => closed.push({ place, turn }))
  count()
  await until(() => closed.length >= 500, 'the last')
  expect(closed.map(({ place }) => place)).toEqual(sockets.map((_, place) => place))
  const inTurn = new Map<number, number>()
  for (const { turn: at } of closed) inTurn.set(at, (inTurn.get(at) ?? 0) + 1)
  expect(Math.max(...inTurn.values())).toBe(5)
})

it('leaves alone who has gone by then, and goes on with who comes later', async () => {
  const seeOff = createConnectionReaper()
  const closed: string[] = []
  const gone = new PassThrough()
  seeOff(gone, () => closed.push('gone'))
  gone.destroy()
  seeOff(new PassThrough(), () => closed.push('first'))
  await until(() => closed.length === 1, 'the first')
  await new Promise((resolve) => setImmediate(resolve))
  seeOff(new PassThrough(), () => closed.push('second'))
  await until(() => closed.length === 2, 'the second')
  expect(closed).toEqual(['first', 'second'])
})
