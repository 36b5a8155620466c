/**
 * Runs an open load: requests come at a constant rate, independent of responses. A closed load, which cannot overload a server, is a
 * phase without a rate.
 * `node --import tsx test/support/serving/open-load.ts '<plan as JSON>'` prints one line of JSON for each phase.
 */
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

export interface OpenPlan {
  url: string
  /** File with the request body. */
  body: string
  authorization: string
  /** Deadline of a request, sent to the server; none by default. */
  deadlineMs?: number
  mostConnections: number
  /**
   * Times requests from when they are sent instead of from when they are due: without the delay of this process, whose timers have a
   * resolution of a millisecond and which may wait for a processor itself.
   */
  isFromSending?: boolean
  /** Sequential phases; without a rate, a closed loop on `connections` connections. */
  phases: { name: string; rate?: number; connections?: number; seconds: number }[]
}

export interface OpenLoadResult {
  name: string
  /** Requests due, and those of them without a free connection. */
  offered: number
  unsent: number
  /** Successful responses within the deadline. */
  good: number
  late: number
  /** Refused as overloaded or past the deadline. */
  refused: number
  failed: number
  /** No response until the deadline of the last request. */
  unanswered: number
  p50Ms: number
  p95Ms: number
  p99Ms: number
  /** From the start of the phase to its last successful response. */
  tookMs: number
  /** Requests due and successful responses, per 250 ms. */
  quarters: { offered: number; good: number }[]
}

interface Connection {
  socket: Socket
  dueAt: number
  sentAt: number
  phase: Counting | undefined
  got: Buffer | undefined
}

interface Counting extends OpenLoadResult {
  beganAt: number
  times: number[]
}

const quarterMs = 250
/** For the last responses of a phase without a deadline. */
const maxWaitMs = 10_000
const plan = JSON.parse(process.argv[2] ?? '') as OpenPlan
const { hostname, port, pathname } = new URL(plan.url)
const body = readFileSync(plan.body)
const request = Buffer.concat([
  Buffer.from(
    `POST ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\ncontent-type: application/json\r\n` +
      (plan.authorization === '' ? '' : `authorization: ${plan.authorization}\r\n`) +
      (plan.deadlineMs === undefined ? '' : `x-deadline-ms: ${plan.deadlineMs}\r\n`) +
      `content-length: ${body.byteLength}\r\n\r\n`,
  ),
  body,
])
const idle: Connection[] = []
let open = 0
let whenFree: ((connection: Connection) => void) | undefined

function answered(connection: Connection): void {
  const { got, phase, dueAt, sentAt } = connection
  connection.got = undefined
  if (phase === undefined || got === undefined) return
  connection.phase = undefined
  const tookMs = performance.now() - (plan.isFromSending === true ? sentAt : dueAt)
  const status = got.toString('latin1', 9, 12)
  if (status === '503' || status === '504') phase.refused++
  else if (status !== '200') phase.failed++
  else if (tookMs > (plan.deadlineMs ?? Infinity)) phase.late++
  else {
    phase.good++
    phase.times.push(tookMs)
    phase.tookMs = performance.now() - phase.beganAt
    const quarter = phase.quarters[Math.floor((dueAt - phase.beganAt) / quarterMs)]
    if (quarter !== undefined) quarter.good++
  }
}

function openConnection(): Connection {
  open++
  const socket = connect(Number(port), hostname)
  socket.setNoDelay(true)
  const connection: Connection = { socket, dueAt: 0, sentAt: 0, phase: undefined, got: undefined }
  let failed = false
  const gone = (): void => {
    if (failed) return
    failed = true
    open--
    if (connection.phase !== undefined) connection.phase.failed++
    connection.phase = undefined
    const at = idle.indexOf(connection)
    if (at >= 0) idle.splice(at, 1)
  }
  socket.on('error', gone)
  socket.on('close', gone)
  socket.on('data', (chunk: Buffer) => {
    const got = connection.got === undefined ? chunk : Buffer.concat([connection.got, chunk])
    connection.got = got
    const end = got.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = got.toString('latin1', 0, end)
    if (got.byteLength < end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)) return
    answered(connection)
    if (/connection: close/i.test(head)) socket.end()
    else if (whenFree === undefined) idle.push(connection)
    else whenFree(connection)
  })
  return connection
}

function send(connection: Connection, phase: Counting, dueAt: number): void {
  connection.phase = phase
  connection.dueAt = dueAt
  connection.sentAt = performance.now()
  connection.socket.write(request)
}

async function run({ name, rate, connections = 64, seconds }: OpenPlan['phases'][number]): Promise<void> {
  const beganAt = performance.now()
  const until = beganAt + seconds * 1_000
  const quarters = Array.from({ length: Math.ceil((seconds * 1_000) / quarterMs) }, () => ({
    offered: 0,
    good: 0,
  }))
  const none = { offered: 0, unsent: 0, good: 0, late: 0, refused: 0, failed: 0, unanswered: 0, tookMs: 0 }
  const phase: Counting = { name, ...none, p50Ms: 0, p95Ms: 0, p99Ms: 0, quarters, beganAt, times: [] }
  const inFlight = (): number =>
    phase.offered - phase.unsent - phase.good - phase.late - phase.refused - phase.failed
  const offer = (dueAt: number): void => {
    phase.offered++
    const quarter = quarters[Math.floor((dueAt - beganAt) / quarterMs)]
    if (quarter !== undefined) quarter.offered++
    const connection = idle.pop() ?? (open < plan.mostConnections ? openConnection() : undefined)
    if (connection === undefined) phase.unsent++
    else send(connection, phase, dueAt)
  }
  if (rate === undefined) {
    whenFree = (connection) => {
      if (performance.now() >= until) return void idle.push(connection)
      phase.offered++
      send(connection, phase, performance.now())
    }
    for (let index = 0; index < connections; index++) offer(beganAt)
    await pause(seconds * 1_000)
    whenFree = undefined
  } else {
    let due = 0
    for (let now = performance.now(); now < until; now = performance.now()) {
      while (beganAt + (due * 1_000) / rate <= now) offer(beganAt + (due++ * 1_000) / rate)
      await pause(1)
    }
  }
  // Requests in flight still count if they finish in time.
  if (plan.deadlineMs !== undefined) await pause(plan.deadlineMs)
  else
    for (const end = performance.now() + maxWaitMs; inFlight() > 0 && performance.now() < end;) await pause(1)
  phase.unanswered = inFlight()
  phase.times.sort((a, b) => a - b)
  const at = (share: number): number => phase.times[Math.floor(share * phase.times.length)] ?? 0
  Object.assign(phase, { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99) })
  const { beganAt: _began, times: _times, ...result } = phase
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

for (const phase of plan.phases) await run(phase)
process.exit(0)
