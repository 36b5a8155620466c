/**
 * Replays the flights as live traffic: one request at the time of each flight, and its outcome when it became known. Requests,
 * predictions and outcomes are kept by week, so that the baselines get the same rows.
 */
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { createLateOutcomes, type LiveRequest, sendJson } from '../../../cli/demo/replay.ts'
import type { SteppedClock } from './clock.ts'

/** The flights of one recorded week, feature by feature. */
export interface Week {
  columns: Record<string, (number | string | null)[]>
  outcomes: number[]
  /** Probabilities served at the time. */
  answers: number[]
  /** Version → flights it served. */
  versions: Map<string, number>
  requests: number
  /** Failed requests by reason. */
  failures: Record<string, number>
}

export interface HalfYearTraffic {
  weeks: Week[]
  outcomes: number
  /** Maximum lag of the replay behind its clock. */
  worstLagMs: number
  ended: Promise<void>
}

export interface TrafficOptions {
  url: string
  model: string
  events: AsyncIterable<LiveRequest[]>
  clock: SteppedClock
  /** Wall-clock start of the first week. */
  fromMs: number
  untilMs: number
  /** Sampling: every n-th flight, and rows per request. */
  everyNth: number
  together: number
}

const mostOpen = 48
const beatMs = 10
const outcomesAtOnce = 500
const timeoutMs = 10_000

export function startTraffic(options: TrafficOptions): HalfYearTraffic {
  const { clock, fromMs, untilMs, everyNth, together } = options
  const agent = new Agent({ keepAlive: true, maxSockets: mostOpen })
  const late = createLateOutcomes()
  const traffic: Omit<HalfYearTraffic, 'ended'> = { weeks: [], outcomes: 0, worstLagMs: 0 }
  const texts = new Map<string, string>()
  let open = 0
  let stopped = false

  const weekOf = (atMs: number): Week => {
    const place = Math.floor((atMs - fromMs) / clock.weekMs)
    while (traffic.weeks.length <= place)
      traffic.weeks.push({
        columns: {},
        outcomes: [],
        answers: [],
        versions: new Map(),
        requests: 0,
        failures: {},
      })
    return traffic.weeks[place]!
  }
  const keep = (week: Week, { instance, outcome }: LiveRequest, answer: number) => {
    for (const [name, value] of Object.entries(instance)) {
      const plain = typeof value === 'boolean' ? Number(value) : (value ?? null)
      let kept = plain
      if (typeof plain === 'string') {
        kept = texts.get(plain) ?? plain
        if (kept === plain) texts.set(plain, plain)
      }
      ;(week.columns[name] ??= []).push(kept)
    }
    week.outcomes.push(Number(outcome))
    week.answers.push(answer)
  }
  const post = (path: string, body: unknown) =>
    sendJson<Answer>(agent, `${options.url}${path}`, body, { timeoutMs })
  const ask = async (flights: LiveRequest[]) => {
    const week = weekOf(flights[0]!.atMs)
    week.requests += 1
    open += 1
    try {
      const { status, body } = await post(`/v1/models/${options.model}/predict`, {
        instances: flights.map(({ instance }) => instance),
        routing_key: flights[0]!.routingKey,
      })
      if (status !== 200 || body.version === undefined) throw new Error(body.code ?? String(status))
      week.versions.set(body.version, (week.versions.get(body.version) ?? 0) + flights.length)
      body.predictions?.forEach(({ id, probability }, place) => {
        const flight = flights[place]!
        keep(week, flight, probability)
        late.add({ id, value: flight.outcome, knownAtMs: flight.knownAtMs })
      })
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      week.failures[why] = (week.failures[why] ?? 0) + 1
    } finally {
      open -= 1
    }
  }
  const tell = async () => {
    while (!stopped || late.waiting() > 0) {
      const known = late.takeKnown(Date.now(), outcomesAtOnce)
      if (known.length > 0) {
        const outcomes = known.map(({ id, value, knownAtMs }) => ({
          prediction_id: id,
          value,
          observed_at: new Date(knownAtMs).toISOString(),
        }))
        const { status } = await post('/v1/outcomes', { outcomes }).catch(() => ({ status: 0 }))
        if (status >= 200 && status < 300) traffic.outcomes += known.length
        // Failed outcomes are sent again.
        else known.forEach((each) => late.add(each))
      }
      if (known.length < outcomesAtOnce) await pause(100)
      if (stopped && late.waiting() > 0 && known.length === 0) break
    }
  }
  const run = async () => {
    const telling = tell()
    const beganMs = Date.now()
    let place = 0
    let flights: LiveRequest[] = []
    reading: for await (const batch of options.events) {
      for (const event of batch) {
        if (event.atMs >= untilMs) break reading
        place += 1
        if (place % everyNth !== 0 || event.atMs < beganMs) continue
        flights.push(event)
        if (flights.length < together) continue
        while (Date.now() < event.atMs || open >= mostOpen) await pause(beatMs)
        traffic.worstLagMs = Math.max(traffic.worstLagMs, Date.now() - event.atMs)
        void ask(flights)
        flights = []
      }
    }
    while (open > 0) await pause(beatMs)
    // Waits for the last outcomes.
    await pause(clock.shrunk(86_400_000))
    stopped = true
    await telling
    agent.destroy()
  }
  return Object.assign(traffic, { ended: run() })
}

interface Answer {
  version?: string
  code?: string
  predictions?: { id: string; probability: number }[]
}
