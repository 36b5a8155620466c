/** Inserts days of predictions and outcomes into the serving tables. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { seededRandom } from '@tenure/sequential'
import type { Store } from '../../../store/postgres.ts'

const hour = 3_600_000

export interface Days {
  /** First and last day, in days before `now`. */
  from: number
  to: number
  /** Fraction of outcomes that are inverted. */
  turned?: number
  /** Computes the answer from a uniform number in [0, 1). */
  answer?: (uniform: number) => number
  /** Returns the probability that the prediction comes true, given the answer. */
  chanceOf?: (answer: number) => number
  /** Hours from the prediction to the outcome; undefined for no outcome. */
  late?: (truth: boolean) => number | undefined
  as?: (truth: boolean) => boolean | number | string
  /** Predictions per request. Default: 2. */
  instances?: number
}

/** Inserts twenty requests per hour; a prediction near 1 is mostly correct. */
export async function liveThrough(
  store: Store,
  { model, version, now }: { model: string; version: string; now: number },
  days: Days,
): Promise<void> {
  const { from, to, turned = 0, late = () => 2, as = (truth) => truth, instances = 2 } = days
  const { answer = (uniform) => uniform, chanceOf = (likely) => likely } = days
  const chance = seededRandom(Math.round(from * 100 + to))
  const requests: object[] = []
  const outcomes: object[] = []
  for (let atMs = now - from * 24 * hour; atMs < now - to * 24 * hour; atMs += hour / 20) {
    const id = `${randomUUID().slice(0, -4)}0000`
    const outputs = Array.from({ length: instances }, () => answer(chance()))
    requests.push({ id, at: new Date(atMs).toISOString(), outputs })
    outputs.forEach((output, place) => {
      const likely = chance() < chanceOf(output)
      const truth = chance() < turned ? !likely : likely
      const delay = late(truth)
      if (delay === undefined || atMs + delay * hour > now) return
      const arrived = new Date(atMs + delay * hour).toISOString()
      outcomes.push({
        id: `${id.slice(0, -4)}${place.toString(16).padStart(4, '0')}`,
        value: as(truth),
        arrived,
      })
    })
  }
  await store.query(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    select id, at, ${model}, ${version}, 'champion', 1, ${instances}, '', outputs, 1
    from jsonb_to_recordset(${JSON.stringify(requests)}::jsonb) as r (id uuid, at timestamptz, outputs real[])`)
  await store.query(sql`
    insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select id, value, arrived, arrived
    from jsonb_to_recordset(${JSON.stringify(outcomes)}::jsonb) as r (id uuid, value jsonb, arrived timestamptz)`)
}
