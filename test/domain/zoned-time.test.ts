import { describe, expect, it } from 'vitest'
import { instantMs, knownZone, wallText, zoneName } from '../../domain/zoned-time.ts'

it.each([
  ['Europe/Berlin', 'Europe/Berlin'],
  ['europe/BERLIN', 'Europe/Berlin'],
  ['US/Pacific', 'America/Los_Angeles'],
  ['Etc/UTC', 'UTC'],
  ['Europe/Atlantis', undefined],
  ['+01:00', undefined],
  ['"><script>', undefined],
  ['', undefined],
  ['A'.repeat(1_000_000), undefined],
])('the zone %.20s is known as %s', (name, known) => expect(knownZone(name)).toBe(known))

describe.each(['UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kolkata', 'Pacific/Kiritimati'])(
  'the clock of %s',
  (zone) => {
    const days = Array.from({ length: 400 }, (_, i) => Date.UTC(2026, 0, 1, 1, 30) + i * 86_400_000)
    it('shows what Intl shows, on every day of a year', () => {
      const shown = new Intl.DateTimeFormat('sv-SE', {
        timeZone: zone,
        dateStyle: 'short',
        timeStyle: 'medium',
      })
      for (const ms of days) expect(wallText(ms, zone).replace('T', ' ').slice(0, 19)).toBe(shown.format(ms))
    })
    it('is read back as the same instant', () => {
      for (const ms of days) expect(instantMs(Date.parse(`${wallText(ms, zone)}Z`), zone)).toBe(ms)
    })
  },
)

it.each([
  [
    'Europe/Berlin',
    '2026-10-25T02:30:00Z',
    '2026-10-25T01:30:00.000Z',
    '2026-03-29T02:30:00Z',
    '2026-03-29T01:30:00.000Z',
  ],
  [
    'America/New_York',
    '2026-11-01T01:30:00Z',
    '2026-11-01T06:30:00.000Z',
    '2026-03-08T02:30:00Z',
    '2026-03-08T07:30:00.000Z',
  ],
  [
    'Australia/Sydney',
    '2026-04-05T02:30:00Z',
    '2026-04-04T16:30:00.000Z',
    '2026-10-04T02:30:00Z',
    '2026-10-03T16:30:00.000Z',
  ],
])(
  'in %s an hour that comes twice is its later one, and an hour that is left out is the one after it',
  (zone, twice, later, skipped, after) => {
    const at = (text: string) => new Date(instantMs(Date.parse(text), zone)).toISOString()
    expect([at(twice), at(skipped)]).toEqual([later, after])
  },
)

it.each([
  ['UTC', 'UTC', 'UTC'],
  ['Europe/Berlin', 'CET', 'CEST'],
  ['America/Los_Angeles', 'PST', 'PDT'],
  ['Asia/Calcutta', 'IST', 'IST'],
  ['Asia/Tokyo', 'GMT+9', 'GMT+9'],
])('%s is abbreviated as %s in winter and %s in summer', (zone, winter, summer) => {
  expect(zoneName(zone, Date.UTC(2026, 0, 1))).toBe(winter)
  expect(zoneName(zone, Date.UTC(2026, 6, 1))).toBe(summer)
})
