/**
 * Plays recorded events as live traffic: requests in the order of their event time, sent to the real HTTP API of all
 * replicas at an even pace, and each outcome only when the replayed clock has passed the moment at which it became
 * known. Were outcomes sent with their requests, the demonstration would show a world in which labels are never late.
 */
import { Agent } from 'node:http'
import type { FeatureRow } from '../../domain/model/features.ts'
import { sendJson, type Sent } from './http.ts'

/** One recorded event. */
export interface LiveRequest {
  atMs: number
  /** When its outcome became known. */
  knownAtMs: number
  routingKey: string
  instance: FeatureRow
  outcome: number | string
}

export interface Pace {
  requestsPerSecond: number
  /** Every n-th event is sent; with more, the replayed days pass faster. */
  everyNth: number
}

/** What came back, counted for each version and arm. */
export interface Served {
  version: string
  arm: string
  requests: number
  /** Requests that the caller got no prediction for. */
  harmed: number
  /** When each answer of a canary came, on this process' clock; empty for other arms. */
  answeredMs: number[]
}

export interface ReplayCounts {
  requests: number
  outcomes: number
  /** Failures by their problem code. */
  failures: Record<string, number>
  served: Served[]
}

export interface Replay {
  /** The replayed moment. */
  nowMs(): number
  pace(next: Pace): void
  counts(): ReplayCounts
  /** Resolves when the recorded events are used up. */
  ended: Promise<void>
  stop(): Promise<void>
}

export interface ReplayOptions {
  /** The addresses of all replicas; each request goes to the next one. */
  urls: string[]
  key: string
  model: string
  /** Events in order of time, in batches. */
  events: AsyncIterable<LiveRequest[]>
  pace: Pace
}

const beatMs = 20
/** Beyond this many open requests the replay waits, so that a slow server is not buried. */
const maxOpen = 64
const outcomesEveryMs = 250
const outcomesAtOnce = 500
const timeoutMs = 5_000

export function startReplay(options: ReplayOptions): Replay {
  const agent = new Agent({ keepAlive: true, maxSockets: maxOpen })
  const counts: ReplayCounts = { requests: 0, outcomes: 0, failures: {}, served: [] }
  const late = createLateOutcomes()
  let { pace } = options
  let nowMs = 0
  let stopped = false
  let open = 0

  const headers = { authorization: `Bearer ${options.key}` }
  const post = (path: string, body: unknown) =>
    sendJson<AnswerBody>(agent, `${options.urls[counts.requests % options.urls.length]}${path}`, body, {
      timeoutMs,
      headers,
    })

  const ask = async (event: LiveRequest) => {
    open += 1
    counts.requests += 1
    try {
      const answer = await post(`/v1/models/${options.model}/predict`, {
        instances: [event.instance],
        routing_key: event.routingKey,
      })
      addAnswer(counts, answer)
      const id = answer.body.predictions?.[0]?.id
      if (id !== undefined) late.add({ id, value: event.outcome, knownAtMs: event.knownAtMs })
    } catch (error) {
      fail(counts, error instanceof Error ? error.message : String(error))
    } finally {
      open -= 1
    }
  }

  const report = async () => {
    const known = late.takeKnown(nowMs, outcomesAtOnce)
    if (known.length === 0) return
    const outcomes = known.map(({ id, value, knownAtMs }) => ({
      prediction_id: id,
      value,
      observed_at: new Date(knownAtMs).toISOString(),
    }))
    try {
      const { status, body } = await post('/v1/outcomes', { outcomes })
      if (status < 300) counts.outcomes += known.length
      else fail(counts, `outcomes ${body.code ?? status}`)
    } catch (error) {
      fail(counts, `outcomes ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  const run = async () => {
    let place = 0
    let owed = 0
    let last = performance.now()
    let lastReport = last
    for await (const batch of options.events) {
      for (const event of batch) {
        if (stopped) return
        nowMs = event.atMs
        place += 1
        if (place % pace.everyNth !== 0) continue
        while (owed < 1 || open >= maxOpen) {
          await sleep(beatMs)
          if (stopped) return
          const now = performance.now()
          // A pause of the machine is not made up for by a burst.
          owed = Math.min(owed + ((now - last) / 1_000) * pace.requestsPerSecond, maxOpen)
          last = now
          if (now - lastReport >= outcomesEveryMs) {
            lastReport = now
            void report()
          }
        }
        owed -= 1
        void ask(event)
      }
    }
  }

  const ended = run()
  return {
    nowMs: () => nowMs,
    pace: (next) => void (pace = next),
    counts: () => ({
      ...counts,
      failures: { ...counts.failures },
      served: counts.served.map((each) => ({ ...each })),
    }),
    ended,
    async stop() {
      stopped = true
      await ended
      while (open > 0) await sleep(beatMs)
      agent.destroy()
    },
  }
}

interface AnswerBody {
  version?: string
  arm?: string
  code?: string
  predictions?: { id: string }[]
}

function addAnswer(counts: ReplayCounts, { status, body }: Sent<AnswerBody>): void {
  if (status >= 400) fail(counts, body.code ?? String(status))
  if (body.version === undefined || body.arm === undefined) return
  let served = counts.served.find((each) => each.version === body.version && each.arm === body.arm)
  if (served === undefined) {
    served = { version: body.version, arm: body.arm, requests: 0, harmed: 0, answeredMs: [] }
    counts.served.push(served)
  }
  served.requests += 1
  if (status >= 500) served.harmed += 1
  if (body.arm === 'canary') served.answeredMs.push(Date.now())
}

function fail(counts: ReplayCounts, code: string): void {
  counts.failures[code] = (counts.failures[code] ?? 0) + 1
}

interface LateOutcome {
  id: string
  value: number | string
  knownAtMs: number
}

/** Outcomes by the moment they become known: a binary heap. */
export function createLateOutcomes() {
  const heap: LateOutcome[] = []
  const at = (index: number) => heap[index]?.knownAtMs ?? Infinity
  const swap = (a: number, b: number) => {
    const [first, second] = [heap[a], heap[b]]
    if (first === undefined || second === undefined) return
    heap[a] = second
    heap[b] = first
  }
  return {
    add(outcome: LateOutcome): void {
      heap.push(outcome)
      for (let index = heap.length - 1; index > 0;) {
        const parent = (index - 1) >> 1
        if (at(parent) <= at(index)) return
        swap(parent, index)
        index = parent
      }
    },
    /** Removes and answers at most `most` outcomes known by then, earliest first. */
    takeKnown(byMs: number, most: number): LateOutcome[] {
      const taken: LateOutcome[] = []
      while (taken.length < most && at(0) <= byMs) {
        const first = heap[0]
        const last = heap.pop()
        if (first === undefined || last === undefined) break
        taken.push(first)
        if (heap.length === 0) break
        heap[0] = last
        for (let index = 0; ;) {
          const left = 2 * index + 1
          const child = at(left + 1) < at(left) ? left + 1 : left
          if (at(index) <= at(child)) break
          swap(index, child)
          index = child
        }
      }
      return taken
    },
    waiting: () => heap.length,
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
