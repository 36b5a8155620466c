/** Tests that a bucket allows its whole burst and no request more, at each time and rate. */
import { expect, it } from 'vitest'
import { paceOnTimeMs, paceWaitMs } from '../../../api/auth/pace.ts'

it('a whole burst is allowed at each time, then one request each step', () => {
  for (const requestsPerSecond of [0.01, 1 / 6, 1, 3, 7, 30, 1_000])
    for (const burst of [1, 2, 10, 97])
      for (const fromMs of [0, 0.1, 4_162_051.749_631_9, 987_654_321.123_456]) {
        const pace = { stepMs: 1_000 / requestsPerSecond, burst }
        const which = { requestsPerSecond, burst, fromMs }
        let onTimeMs = 0
        const ask = (nowMs: number) => {
          const waitMs = paceWaitMs(pace, onTimeMs, nowMs)
          if (waitMs === 0) onTimeMs = paceOnTimeMs(pace, onTimeMs, nowMs)
          return waitMs
        }
        for (let request = 0; request < burst; request++) expect(ask(fromMs), JSON.stringify(which)).toBe(0)
        expect(ask(fromMs), JSON.stringify(which)).toBeCloseTo(pace.stepMs, 2)
        expect(ask(fromMs + pace.stepMs), JSON.stringify(which)).toBe(0)
        expect(ask(fromMs + pace.stepMs), JSON.stringify(which)).toBeGreaterThan(0)
      }
})
