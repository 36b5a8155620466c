/** Tests Postgres and Temporal both down for seconds; `npm run bench -- outage --minutes 10` runs minutes. */
import { expect, it } from 'vitest'
import { outage } from '../support/servers/outage.ts'

it.each(['killed', 'frozen'] as const)(
  'with Postgres and Temporal %s no prediction fails, control routes refuse in time, and every lost row is counted',
  async (kind) => {
    const { before, during, after, control, served, stored, dropped, rows, answered } = await outage({
      kind,
      outageMs: 3_000,
      calmMs: 500,
      rate: 200,
    })
    for (const { requests, failed } of [before, during, after]) {
      expect(failed).toBe(0)
      expect(requests).toBeGreaterThan(0)
    }
    expect(control.map(({ status }) => status)).toEqual([503, 503])
    expect([stored + dropped, rows]).toEqual([served, stored])
    expect(dropped).toBe(0)
    expect(served).toBe(answered)
    expect(during.rssMb).toBeLessThan(before.rssMb + 200)
  },
)
