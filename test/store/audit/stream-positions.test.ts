import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../../store/postgres.ts'
import { moveStreamPosition } from '../../../store/audit/stream-positions.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { name: 'test', connectMs: 60_000, queryMs: 60_000 })
})
afterAll(() => store.close())

describe('the position of a topic', () => {
  it('begins at 0, moves to what was sent, and stays when the sending fails', async () => {
    const seen: number[] = []
    const move = (to: number) =>
      moveStreamPosition(store, 'audit a', (_database, seq) => {
        seen.push(seq)
        return to < 0 ? Promise.reject(new Error('the broker is away')) : Promise.resolve(to)
      })
    expect(await move(5)).toBe(5)
    await expect(move(-1)).rejects.toThrow('the broker is away')
    expect(await move(7)).toBe(7)
    expect(await move(7)).toBe(7)
    expect(seen).toEqual([0, 5, 5, 7])
  })

  it('is moved by one process at a time, and each topic has its own', async () => {
    await moveStreamPosition(store, 'audit b', () => Promise.resolve(1))
    let second: number | undefined = -1
    let other: number | undefined
    await moveStreamPosition(store, 'audit b', async () => {
      second = await moveStreamPosition(store, 'audit b', () => Promise.resolve(9))
      other = await moveStreamPosition(store, 'audit c', () => Promise.resolve(3))
      return 2
    })
    expect([second, other]).toEqual([undefined, 3])
    expect(await moveStreamPosition(store, 'audit b', (_database, seq) => Promise.resolve(seq))).toBe(2)
  })
})
