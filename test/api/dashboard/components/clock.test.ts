/** Tests how the times of a page are filled in the reader's zone. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { inZone, timeLabel, typedText, zoneOf } from '../../../../api/dashboard/clock.ts'
import { typedInstant } from '../../../../domain/zoned-time.ts'
import { timeAxis } from '../../../../api/charts/axis.ts'
import { Time } from '../../../../api/dashboard/components/elements.tsx'
import { drawModelLanes } from '../../../../api/dashboard/pages/overview/timeline.tsx'

const at = '2026-03-01T12:00:05.250Z'
const berlin = 'Europe/Berlin'
const title = 'title="2026-03-01 13:00:05 CET"'

beforeEach(() => void vi.useFakeTimers({ now: Date.parse(at) - 9 * 60_000, toFake: ['Date'] }))
afterEach(() => void vi.useRealTimers())

it.each([
  [undefined, '2026-03-01\u00a013:00'],
  ['second', '2026-03-01\u00a013:00:05'],
  ['milliseconds', '2026-03-01\u00a013:00:05.250'],
  ['clock', '13:00:05'],
  ['minute', '13:00'],
  ['day', '2026-03-01'],
  ['due', '13:00\u00a0(in\u00a09\u00a0min)'],
] as const)('a time that shows %s', async (shows, text) => {
  const html = inZone(String(await Time({ at, shows })), berlin)
  expect(html).toBe(`<time datetime="${at}" data-shows="${shows ?? 'time'}" ${title}>${text}</time>`)
  expect(inZone(html, berlin)).toBe(html)
})

it.each([
  [
    `<p>Expires 2026-03-01T12:00:05.250Z.</p>`,
    `<p>Expires <time datetime="${at}" data-shows="due" ${title}>13:00\u00a0(in\u00a09\u00a0min)</time>.</p>`,
  ],
  [
    '<p>rolled back at 2026-07-01 12:00 UTC</p>',
    '<p>rolled back at <time datetime="2026-07-01T12:00:00.000Z" data-shows="due" title="2026-07-01 14:00:00 CEST">2026-07-01\u00a014:00</time></p>',
  ],
  [
    `<a title="since ${at} by ada" href="/?at=${at}">x</a>`,
    `<a title="since 2026-03-01 13:00 by ada" href="/?at=${at}">x</a>`,
  ],
  [
    `<time datetime="${at}" title="since ${at} by ada">5 h</time>`,
    `<time datetime="${at}" title="since 2026-03-01 13:00:05 CET by ada">5\u00a0h</time>`,
  ],
  [`<svg><title>at 2026-03-01 12:00 UTC</title></svg>`, '<svg><title>at 2026-03-01 13:00</title></svg>'],
  [
    `<svg>${timeLabel({ x: 1, y: 2 }, Date.parse(at), 60_000)}</svg>`,
    `<svg><text x="1" y="2" text-anchor="start" data-at="${Date.parse(at)}" data-shows="clock">13:00:05</text></svg>`,
  ],
  [`<title>Run of ${at}</title>`, '<title>Run of 2026-03-01 13:00</title>'],
  [`<code>--as-of ${at}</code><pre>${at}</pre>`, `<code>--as-of ${at}</code><pre>${at}</pre>`],
  [`train with --as-of ${at}`, `train with --as-of ${at}`],
  ['<p>2026-13-45T99:00:00Z</p>', '<p>2026-13-45T99:00:00Z</p>'],
])('in a page, %s', (html, shown) => {
  expect(inZone(html, berlin)).toBe(shown)
  expect(inZone(shown, berlin)).toBe(shown)
})

it.each([
  [undefined, 'UTC'],
  ['tenure_zone=Europe/Berlin', 'Europe/Berlin'],
  ['a=b; tenure_zone=America/New_York; c=d', 'America/New_York'],
  ['tenure_zone=Mars/Olympus', 'UTC'],
  ['tenure_zone=<script>', 'UTC'],
])('the cookie %s means %s', (cookie, zone) => expect(zoneOf(() => cookie)).toBe(zone))

it.each([
  ['2026-03-01 13:00', '2026-03-01T12:00:00.000Z', '2026-03-01 13:00'],
  ['2026-07-01 13:00:30', '2026-07-01T11:00:30.000Z', '2026-07-01 13:00:30'],
  ['2026-03-01 13:00:30.250', '2026-03-01T12:00:30.250Z', '2026-03-01 13:00:30.250'],
  [' 2026-03-01 ', '2026-02-28T23:00:00.000Z', '2026-03-01 00:00'],
  ['2026-03-01T12:00:00.000Z', '2026-03-01T12:00:00.000Z', '2026-03-01 13:00'],
])('%s typed in Berlin is %s', (typed, instant, shown) => {
  expect(typedInstant(typed, berlin)).toBe(instant)
  expect(typedText(instant, berlin)).toBe(shown)
})
it.each(['yesterday', '2026-02-31T', '2026-99-99', '2026-02-31', '2026-02-30 10:00', '2026-03-01 24:00'])(
  'leaves %s to the check of the query',
  (typed) => expect(typedInstant(typed, berlin)).toBe(typed),
)

it.each([
  ['Asia/Kolkata', 6, '18:00'],
  ['Asia/Kolkata', 48, 'Mar 2'],
  ['Pacific/Kiritimati', 48, 'Mar 2'],
])('the ticks of an axis are round in %s over %i h', (zone, hours, first) => {
  const from = Date.parse(at)
  const { ticks, tickFormat } = timeAxis([new Date(from), new Date(from + hours * 3_600_000)], 8, zone)
  const shown = (ticks as Date[]).map((tick, place) => tickFormat(tick, place))
  expect(shown.length).toBeGreaterThan(1)
  expect(shown).toContain(first)
})

it('an axis in a zone has labels, and not too many, at every span from ten seconds to ten years', () => {
  const from = Date.parse(at)
  for (let spanMs = 10_000; spanMs < 10 * 366 * 86_400_000; spanMs *= 1.07)
    for (const most of [3, 4, 7, 8]) {
      const { ticks } = timeAxis([new Date(from), new Date(from + spanMs)], most, 'Asia/Kolkata')
      expect((ticks as Date[]).length, `${spanMs} ms, ${most}`).toBeGreaterThanOrEqual(1)
      expect((ticks as Date[]).length, `${spanMs} ms, ${most}`).toBeLessThanOrEqual(most + 1)
    }
})

it('a time to come of less than half a minute is now', () => {
  vi.setSystemTime(Date.parse(at) - 20_000)
  expect(inZone(`<p>${at}</p>`, berlin)).toContain('>13:00\u00a0(now)<')
})

it('a chart that was drawn for a reader is not shown to one in another zone', async () => {
  const nowMs = Date.parse(at)
  const spans = [
    { model: 'm', kind: 'release', level: 'canary', name: 'v', fromMs: nowMs - 3_600_000 },
  ] as const
  const draw = async (zone: string) =>
    (await drawModelLanes({ spans: [...spans], fromMs: 0, nowMs }, zone)).wide
  const hours = (svg: string) => [...svg.matchAll(/>(\d\d:\d\d)</g)].map(([, text]) => text)
  const [utc, tokyo, again] = [await draw('UTC'), await draw('Asia/Tokyo'), await draw('UTC')]
  expect(hours(utc)[0]).toMatch(/^1[12]:/)
  expect(hours(tokyo)[0]).toMatch(/^2[01]:/)
  expect(tokyo).toContain('data-zone="Asia/Tokyo"')
  expect(again).toBe(utc)
})
