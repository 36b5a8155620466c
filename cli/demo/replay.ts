/**
 * Replays recorded events as live traffic at a steady rate, in event-time order, over all replicas. Each outcome is sent when the
 * replayed clock passes the time at which it became known, so that labels are late as in production.
 */
import { Agent, request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FeatureRow } from '../../domain/model/features.ts'
import { parseJson } from '../../domain/parse-json.ts'

export interface LiveRequest {
  atMs: number
  knownAtMs: number
  routingKey: string
  instance: FeatureRow
  outcome: number | string
}

export interface Pace {
  requestsPerSecond: number
  /** Sends every n-th event; a larger value makes the replayed days pass faster. */
  everyNth: number
  /** Earlier events are not sent. */
  fromMs?: number | undefined
  /** The replay waits before the first event from then on. */
  untilMs?: number | undefined
}

export interface Served {
  version: string
  arm: string
  requests: number
  harmed: number
  /** Time of each canary response, on the clock of this process; empty for other arms. */
  answeredMs: number[]
}

export interface ReplayCounts {
  requests: number
  outcomes: number
  /** Number of failures by problem code. */
  failures: Record<string, number>
  served: Served[]
}

export interface Replay {
  nowMs(): number
  pace(next: Pace): void
  counts(): ReplayCounts
  /** Resolves at the end of the recorded events. */
  ended: Promise<void>
  stop(): Promise<void>
}

export interface ReplayOptions {
  /** Replicas, used round-robin. */
  urls: string[]
  key: string
  model: string
  /** Events in order of time, in batches. */
  events: AsyncIterable<LiveRequest[]>
  pace: Pace
}

const beatMs = 20
/** The replay waits above this many open requests, so that a slow server is not overloaded. */
const maxOpen = 64
const outcomesEveryMs = 250
const outcomesBatchSize = 500
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
    const known = late.takeKnown(nowMs, outcomesBatchSize)
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

  const isLater = ({ atMs }: LiveRequest) => atMs >= (pace.untilMs ?? Infinity)
  const run = async () => {
    let count = 0
    let owed = 0
    let last = performance.now()
    let lastReport = last
    for await (const batch of options.events) {
      for (const event of batch) {
        if (stopped) return
        nowMs = event.atMs
        count += 1
        if (count % pace.everyNth !== 0 && !isLater(event)) continue
        while (owed < 1 || open >= maxOpen || isLater(event)) {
          await sleep(beatMs)
          if (stopped) return
          const now = performance.now()
          // Capped, so that a paused machine causes no burst afterwards.
          owed = Math.min(owed + ((now - last) / 1_000) * pace.requestsPerSecond, maxOpen)
          last = now
          if (now - lastReport >= outcomesEveryMs) {
            lastReport = now
            void report()
          }
        }
        if (event.atMs < (pace.fromMs ?? 0)) continue
        owed -= 1
        void ask(event)
      }
    }
  }

  const ended = run()
  return {
    nowMs: () => nowMs,
    pace: (next) => void (pace = next),
    counts: () => structuredClone(counts),
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

/** A queue of outcomes, ordered by the time at which they become known. */
export function createLateOutcomes() {
  const queue: LateOutcome[] = []
  return {
    add(outcome: LateOutcome): void {
      const after = queue.findLastIndex(({ knownAtMs }) => knownAtMs <= outcome.knownAtMs)
      queue.splice(after + 1, 0, outcome)
    },
    /** Removes and returns at most `max` outcomes known by then, earliest first. */
    takeKnown(byMs: number, max: number): LateOutcome[] {
      const next = queue.findIndex(({ knownAtMs }) => knownAtMs > byMs)
      return queue.splice(0, Math.min(next === -1 ? queue.length : next, max))
    },
    waiting: () => queue.length,
  }
}

// Sends one JSON request on keep-alive connections. Rejects with the error code of the connection, or `timeout`.

interface Sent<Body> {
  status: number
  body: Body
}

export function sendJson<Body>(
  agent: Agent,
  url: string,
  body: unknown,
  { timeoutMs, headers = {} }: { timeoutMs: number; headers?: Record<string, string> },
): Promise<Sent<Body>> {
  const text = JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const call = httpRequest(
      url,
      {
        agent,
        method: 'POST',
        timeout: timeoutMs,
        headers: {
          ...headers,
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        },
      },
      (response) => {
        let received = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => (received += chunk))
        response.on('error', reject)
        response.on('end', () => {
          const body = parseJson<Body>(received)
          if (body === undefined) reject(new Error(`response ${response.statusCode} is not JSON`))
          else resolve({ status: response.statusCode ?? 0, body })
        })
      },
    )
    call.on('timeout', () => call.destroy(new Error('timeout')))
    call.on('error', (error: NodeJS.ErrnoException) => reject(new Error(error.code ?? error.message)))
    call.end(text)
  })
}
