import { expect, it } from 'vitest'
import { isSkewDue } from '../../../domain/monitoring/training-serving-skew.ts'

const hourMs = 3_600_000
const window = (hour: number) => ({ fromMs: hour * hourMs, toMs: (hour + 1) * hourMs })

it.each([
  ['which ends a day', 23, 2, true],
  ['in which no day ends', 12, 2, false],
  ['in which the champion was promoted', 12, 12.5, true],
  ['after the one in which it was promoted', 13, 12.5, false],
])('skew is checked once a day and after a promotion: a window %s', (_name, hour, since, due) =>
  expect(isSkewDue(window(hour), since * hourMs)).toBe(due),
)
