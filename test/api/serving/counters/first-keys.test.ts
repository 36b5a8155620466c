/** Tests how the first request of each routing key is recognised. */
import { expect, it } from 'vitest'
import { createFirstKeys } from '../../../../api/serving/counters/arm-counters.ts'

it('a thousand requests of one key count once, and ten thousand keys nearly all', () => {
  const keys = createFirstKeys()
  let first = 0
  for (let i = 0; i < 1_000; i++) if (keys.isFirst('one caller')) first++
  expect(first).toBe(1)
  for (let i = 0; i < 10_000; i++) if (keys.isFirst(`caller ${i}`)) first++
  expect(first).toBeGreaterThan(9_900)
  for (let i = 0; i < 10_000; i++) if (keys.isFirst(`caller ${i}`)) first++
  expect(first).toBeLessThanOrEqual(10_001)
})

it('keys begin to count again when the memory is half full', () => {
  const keys = createFirstKeys()
  expect(keys.isFirst('again')).toBe(true)
  for (let i = 0; i < 800_000; i++) keys.isFirst(`caller ${i}`)
  expect(keys.isFirst('again')).toBe(true)
})
