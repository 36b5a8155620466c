/** Tests how looks read evidence that takes minutes: without waiting for its end, and without passing before it. */
import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { unhurriedly } from '../../../../activities/release/evidence/sparing-reads.ts'

interface Reading {
  end(sum: number): Promise<void>
  fail(error: Error): Promise<void>
}
let readings: Reading[]
let look: (whole?: boolean) => Promise<{ sum?: number; isUnread?: true }>
const looks = (maxWaitMs: number) => {
  readings = []
  const read = () =>
    new Promise<{ sum: number }>((resolve, reject) =>
      readings.push({
        end: (sum) => (resolve({ sum }), turn()),
        fail: (error) => (reject(error), turn()),
      }),
    )
  const reader = unhurriedly(read, maxWaitMs)
  look = (whole = false) => reader(whole)
}

describe('a slow reading', () => {
  beforeEach(() => looks(1))

  it('goes on beyond a look, and a later one has its result', async () => {
    expect(await look()).toEqual({ isUnread: true })
    expect(await look()).toEqual({ isUnread: true })
    expect(readings).toHaveLength(1)
    await readings[0]!.end(7)
    expect(await look()).toEqual({ sum: 7 })
  })

  it('that began before all had to be read is not enough for a pass', async () => {
    await look()
    expect(await look(true)).toEqual({ isUnread: true })
    await readings[0]!.end(7)
    expect(await look(true)).toEqual({ sum: 7, isUnread: true })
    expect(readings).toHaveLength(2)
    expect(await look()).toEqual({ sum: 7 })
    await readings[1]!.end(8)
    expect(await look(true)).toEqual({ sum: 8 })
    // The next pass asks anew.
    expect(await look(true)).toEqual({ sum: 8, isUnread: true })
    expect(readings).toHaveLength(3)
  })

  it('that fails fails the next look, and is begun again', async () => {
    await look()
    await readings[0]!.fail(new Error('timeout'))
    await expect(look()).rejects.toThrow('timeout')
    expect(await look()).toEqual({ isUnread: true })
    expect(readings).toHaveLength(2)
  })
})

describe('a quick reading', () => {
  beforeEach(() => looks(600_000))

  it('is awaited', async () => {
    const seen = look()
    await readings[0]!.end(7)
    expect(await seen).toEqual({ sum: 7 })
  })

  it('before a pass is awaited as well, after the one that is running', async () => {
    const [seen, whole] = [look(), look(true)]
    await readings[0]!.end(7)
    expect(await seen).toEqual({ sum: 7 })
    await expect.poll(() => readings.length).toBe(2)
    await readings[1]!.end(8)
    expect(await whole).toEqual({ sum: 8 })
  })

  it('that fails fails the look', async () => {
    const seen = expect(look()).rejects.toThrow('timeout')
    await readings[0]!.fail(new Error('timeout'))
    await seen
  })
})
