import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openEvents, type RecordedEvents } from '../../../cli/demo/world.ts'
import type { LiveRequest } from '../../../cli/demo/replay.ts'
import { flightDelay } from '../../../models/flight-delay.ts'

const hourMs = 3_600_000
const startMs = Date.UTC(2001, 1, 3)
let events: RecordedEvents
let day: LiveRequest[]
let before: LiveRequest[]

beforeAll(async () => {
  events = await openEvents({
    definition: flightDelay.definition,
    routingKey: `origin || '-' || destination`,
  })
  day = await take(startMs, 24)
  before = await take(startMs - 24 * hourMs, 24)
})
afterAll(() => events.close())

async function take(fromMs: number, hours: number): Promise<LiveRequest[]> {
  const taken: LiveRequest[] = []
  for await (const batch of events.from(fromMs)) {
    taken.push(...batch)
    if ((taken.at(-1)?.atMs ?? 0) >= fromMs + hours * hourMs) break
  }
  return taken.filter(({ atMs }) => atMs < fromMs + hours * hourMs)
}

describe('the recorded flights', () => {
  it('are in time order, with the flight route as routing key', () => {
    expect(day.length).toBeGreaterThan(10_000)
    expect(day.map(({ atMs }) => atMs)).toEqual(day.map(({ atMs }) => atMs).sort((a, b) => a - b))
    for (const { routingKey, instance } of day.slice(0, 500))
      expect(routingKey).toBe(`${instance['origin']}-${instance['destination']}`)
  })

  it('have exactly the features of the model and an outcome known later', () => {
    for (const { instance, outcome, atMs, knownAtMs } of day.slice(0, 2_000)) {
      expect(Object.keys(instance)).toEqual(Object.keys(flightDelay.definition.features))
      expect([0, 1]).toContain(outcome)
      expect(knownAtMs).toBeGreaterThanOrEqual(atMs + 30 * 60_000)
    }
  })

  it('contain only what was known at that time', () => {
    const all = [...before, ...day]
    for (const { instance, atMs } of day.filter((_, index) => index % 997 === 0)) {
      const known = all.filter(
        (other) =>
          other.instance['origin'] === instance['origin'] &&
          other.knownAtMs <= atMs &&
          other.knownAtMs > atMs - 3 * hourMs,
      )
      const late = known.filter(({ outcome }) => outcome === 1).length
      if (known.length === 0) expect(instance['recentLateShare']).toBeNull()
      else expect(instance['recentLateShare']).toBeCloseTo(late / known.length, 12)
    }
  })

  it('do not depend on the window size', async () => {
    const wide = await openEvents({
      definition: flightDelay.definition,
      routingKey: `origin || '-' || destination`,
      windowMs: 24 * hourMs,
    })
    for await (const batch of wide.from(startMs)) {
      expect(batch).toEqual(day)
      break
    }
    await wide.close()
  })

  it('end at the end of the records', async () => {
    const last: number[] = []
    for await (const batch of events.from(events.span.lastMs - hourMs)) last.push(batch.length)
    expect(last.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(0)
    expect(last.length).toBe(1)
  })
})
