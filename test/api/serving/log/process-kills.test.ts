/** Tests the row account of the prediction log when the process itself is killed; `npm run bench:log` kills it twenty times. */
import { expect, it } from 'vitest'
import { killAgainAndAgain } from '../../../../bench/log/kills.ts'

it('the log is exact after the API was killed three times under load with a Postgres outage in between', async () => {
  const { answered, inFlight, served, stored, dropped, open, rows, outages } = await killAgainAndAgain({
    kills: 3,
    loadMs: 400,
  })
  expect(outages).toBe(2)
  expect(open).toBe(0)
  expect(stored + dropped).toBe(served)
  expect(rows).toBe(stored)
  expect(served).toBeGreaterThanOrEqual(answered)
  expect(served).toBeLessThanOrEqual(answered + inFlight)
  expect(stored).toBeGreaterThan(0)
})
