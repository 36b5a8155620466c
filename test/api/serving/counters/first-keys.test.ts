/** Tests how the first request of each routing key is recognised. */
import { expect, it } from 'vitest'
import { createFirstKeys } from '../../../../api/serving/counters/arm-counters.ts'

it('a thousand requests of one key count once, and ten thousand keys nearly all', () => {
  const keys = createFirstKeys()
  let first = 0
  for (let i = 0; i < 1_000; i++) if (keys.isFirst('one caller')) first++
  expect(first).toBe(1)
  for (let i = 0; i < 10_000; i++) if (keys.isFirst(`caller ${i}`)) first++
  expect(first).toBeGreaterThan(9_995)
  for (let i = 0; i < 10_000; i++) if (keys.isFirst(`caller ${i}`)) first++
  expect(first).toBeLessThanOrEqual(10_001)
})

it('of the keys beyond half a million one in two counts, the same ones in both arms', () => {
  const sample = { level: 0 }
  const [canary, control] = [createFirstKeys(sample), createFirstKeys(sample)]
  const count = (keys: ReturnType<typeof createFirstKeys>, from: number, to: number) => {
    let first = 0
    for (let i = from; i < to; i++) if (keys.isFirst(`caller ${i}`)) first++
    return first
  }
  expect(count(control, 0, 524_400)).toBeGreaterThan(524_200)
  expect(sample.level).toBe(1)
  const sampled = count(canary, 600_000, 640_000)
  expect(sampled).toBeGreaterThan(19_000)
  expect(sampled).toBeLessThan(21_000)
  expect(count(control, 600_000, 640_000)).toBe(sampled)
})
