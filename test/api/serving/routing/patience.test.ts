/** Tests that a version which takes long to open is kept for its route, and closed when no route asks for it again. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createPatience } from '../../../../api/serving/routing/version-loader.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const minutes = (count: number) => vi.advanceTimersByTimeAsync(count * 60_000)

it('closes what was opened and nobody has asked for again', async () => {
  const closed: string[] = []
  const patience = createPatience<string>((opened) => void closed.push(opened), 1)
  const opening = new Map<string, (opened: string) => void>()
  const open = (name: string) =>
    patience(name, () => new Promise<string>((resolve) => opening.set(name, resolve)), 'takes long')
  for (const name of ['asked', 'forgotten']) {
    await expect(open(name)).rejects.toMatchObject({
      code: 'model_unavailable',
      message: `${name} takes long`,
    })
    opening.get(name)!(`the model ${name}`)
  }
  expect(await open('asked')).toBe('the model asked')
  await minutes(4)
  expect(closed).toEqual([])
  await minutes(2)
  expect(closed).toEqual(['the model forgotten'])
})

it('tells a failure again for a minute, and then tries again', async () => {
  const patience = createPatience<string>(() => {})
  let tries = 0
  const open = () => patience('broken', () => Promise.reject(new Error(`try ${++tries}`)), 'takes long')
  for (let ask = 0; ask < 3; ask++) await expect(open()).rejects.toThrow('try 1')
  await minutes(1.1)
  await expect(open()).rejects.toThrow('try 2')
})
