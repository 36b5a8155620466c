/**
 * Sends one row at a time on keep-alive sockets and checks every response. The clients run in the process that orders rollbacks, so
 * that "sent after the acknowledgement" needs no comparison of two clocks.
 */
import { connect, type Socket } from 'node:net'

export interface CallerResponse {
  version: string
  generation: number
  /** Index of the replica among the targets. */
  target: number
  sentMs: number
  routingKey: string
}

export interface Asker {
  answered: number
  /** Failed requests with their reason. */
  failures: { target: number; why: string; sentMs: number; atMs: number }[]
  /** Latency in milliseconds. */
  timesMs: number[]
  stop(): Promise<void>
}

/** Failures except refusals after waiting for 250 ms: a replica on a busy machine refuses such requests, and clients retry. */
export const lostRequests = ({ failures }: Pick<Asker, 'failures'>): Asker['failures'] =>
  failures.filter(({ why }) => why !== '503 overloaded')

export interface AskerOptions {
  targets: readonly string[]
  /** Clients per target. */
  each: number
  model: string
  row: object
  /** For replicas whose predictions need one. */
  key?: string
  /** Checks a response. */
  onAnswer?: (answer: CallerResponse) => void
  /** Pause between a response and the next request of the same client. */
  pauseMs?: number
  /** Requests on one connection, on average, so that the kernel distributes the callers anew. Default: no limit. */
  requestsEach?: number
}

const deadlineMs = 60_000

export function startAsker(options: AskerOptions): Asker {
  const { targets, each } = options
  const state: State = { stopping: false, callers: 0, sockets: new Set() }
  const done: Promise<void>[] = []
  const asker: Asker = {
    answered: 0,
    failures: [],
    timesMs: [],
    async stop() {
      state.stopping = true
      await Promise.race([Promise.all(done), new Promise((resolve) => setTimeout(resolve, 2_000))])
      for (const socket of state.sockets) socket.destroy()
    },
  }
  for (let target = 0; target < targets.length; target++)
    for (let i = 0; i < each; i++) done.push(runCaller(asker, state, options, target))
  return asker
}

interface State {
  stopping: boolean
  /** Use a new routing key for each request. */
  callers: number
  sockets: Set<Socket>
}

/** Sends requests in a loop; reopens a connection that was closed between two requests. */
function runCaller(asker: Asker, state: State, options: AskerOptions, target: number): Promise<void> {
  const { targets, model, row, key, onAnswer, pauseMs = 0, requestsEach = Infinity } = options
  const authorization = key === undefined ? '' : `authorization: Bearer ${key}\r\n`
  const { hostname, port } = new URL(targets[target]!)
  const rowText = JSON.stringify(row)
  let socket: Socket | undefined
  let got = ''
  let sentMs = 0
  let routingKey = ''
  let waiting = false
  let finish: () => void = () => {}

  const fail = (why: string): void => {
    waiting = false
    asker.failures.push({ target, why, sentMs, atMs: performance.now() })
  }
  const later = (ms: number): void => void setTimeout(next, ms)
  const open = (): Socket => {
    const fresh = connect(Number(port), hostname)
    state.sockets.add(fresh)
    fresh.setNoDelay(true).setEncoding('latin1')
    fresh.on('data', (text: string) => {
      got += text
      read(fresh)
    })
    fresh.on('error', () => {})
    fresh.on('close', () => {
      state.sockets.delete(fresh)
      if (socket !== fresh) return
      socket = undefined
      if (!waiting) return
      fail('closed before the answer')
      later(5)
    })
    return fresh
  }
  const next = (): void => {
    if (state.stopping) {
      clearInterval(watch)
      socket?.destroy()
      return finish()
    }
    socket ??= open()
    routingKey = `caller ${state.callers++}`
    const body = `{"instances":[${rowText}],"routing_key":"${routingKey}"}`
    got = ''
    waiting = true
    sentMs = performance.now()
    socket.write(
      `POST /v1/models/${model}/predict HTTP/1.1\r\nhost: ${hostname}\r\n${authorization}content-type: application/json\r\n` +
        `content-length: ${body.length}\r\n\r\n${body}`,
    )
  }
  const read = (from: Socket): void => {
    const end = got.indexOf('\r\n\r\n')
    if (end < 0 || !waiting) return
    const head = got.slice(0, end).toLowerCase()
    const length = Number(/content-length: (\d+)/.exec(head)?.[1])
    if (got.length < end + 4 + length) return
    waiting = false
    const found = /"version":"([^"]+)","arm":"\w+","generation":(\d+)/.exec(got)
    if (!got.startsWith('HTTP/1.1 200') || found === null)
      fail(`${got.slice(9, 12)} ${/"code":"(\w+)"/.exec(got)?.[1] ?? ''}`)
    else {
      asker.answered++
      asker.timesMs.push(performance.now() - sentMs)
      onAnswer?.({ version: found[1]!, generation: Number(found[2]), target, sentMs, routingKey })
    }
    if (head.includes('connection: close') || Math.random() * requestsEach < 1) {
      socket = undefined
      from.end()
    }
    if (pauseMs > 0) later(pauseMs)
    else next()
  }
  const watch = setInterval(() => {
    if (!waiting || performance.now() - sentMs < deadlineMs) return
    fail(`no answer within ${deadlineMs} ms`)
    const dead = socket
    socket = undefined
    dead?.destroy()
    next()
  }, 500)
  return new Promise((resolve) => {
    finish = resolve
    next()
  })
}
