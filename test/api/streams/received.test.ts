/** Tests the queue of messages between the client of a broker and their reader. */
import { getEventListeners } from 'node:events'
import { expect, it } from 'vitest'
import { createReceived } from '../../../api/streams/received.ts'

it('messages are taken in order, up to a maximum, as soon as there is one', async () => {
  const received = createReceived<number>()
  const { signal } = new AbortController()
  const waiting = received.take(2, signal)
  expect([1, 2, 3].map(received.push)).toEqual([1, 2, 3])
  expect(await waiting).toEqual([1, 2])
  expect(received.count()).toBe(1)
  received.clear()
  expect(received.count()).toBe(0)
})

it('a wait that has ended leaves no listener on the signal', async () => {
  const received = createReceived<number>()
  const { signal } = new AbortController()
  for (let i = 0; i < 3; i++) {
    const waiting = received.take(1, signal)
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    received.push(i)
    expect(await waiting).toEqual([i])
  }
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
})

it('the first failure ends every wait, and an aborted signal takes nothing', async () => {
  const received = createReceived<number>()
  const stop = new AbortController()
  const aborted = received.take(1, stop.signal)
  stop.abort()
  received.push(1)
  expect(await aborted).toEqual([])
  received.clear()
  const waiting = received.take(1, new AbortController().signal)
  expect(received.fail(new Error('gone')).message).toBe('gone')
  expect(received.fail(new Error('again')).message).toBe('gone')
  await expect(waiting).rejects.toThrow('gone')
  await expect(received.take(1, new AbortController().signal)).rejects.toThrow('gone')
})
