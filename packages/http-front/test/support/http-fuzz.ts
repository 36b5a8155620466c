/**
 * Sends mutated HTTP requests in the same reads, in one process, to the fast path, to the server without it and to Node's own server.
 * Compares which requests each server parsed, what it responded, and whether it kept the connection open.
 */
import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Socket } from 'node:net'
import { exchangeOf } from '../../src/exchange.ts'
import { openFastPath } from '../../src/fast-path.ts'
import { createHttpServer, socketLimits } from '../../src/http-server.ts'
import { continueOnRead } from '../../src/node-internals.ts'
import { fuzzedPieces } from './fuzzed-requests.ts'

/** The server's end of a connection; the server receives each piece as one read. */
type Wire = Duplex & { taken: string[]; bytesRead: number; output: string; byFastPath: number }

function openWire(): Wire {
  const wire: Wire = Object.assign(
    new Duplex({
      allowHalfOpen: true,
      read() {},
      write(chunk: Buffer, _, done) {
        wire.output += chunk.toString('latin1')
        done()
      },
    }),
    {
      taken: [],
      bytesRead: 0,
      output: '',
      byFastPath: 0,
      setTimeout: () => wire,
      destroySoon() {
        if (wire.writable) wire.end()
        if (wire.writableFinished) wire.destroy()
        else wire.once('finish', () => wire.destroy())
      },
    },
  )
  return wire
}

function give(wire: Wire, piece: Buffer): void {
  if (wire.destroyed || wire.readableEnded) return
  wire.bytesRead += piece.byteLength
  wire.push(piece)
}

/** The requests and responses of a server, without the parts that differ between runs. */
interface Seen {
  taken: string[]
  statuses: string[]
  isOpen: boolean
}

const modes = ['on', 'off', 'node'] as const
type Mode = (typeof modes)[number]

export interface FuzzResult {
  connections: number
  requests: number
  byFastPath: number
  /** Differences, each with its seed, its bytes and the result of each server. */
  differences: string[]
  /** Number of connections that both servers refused, where only Node dropped requests or responses before the refusal. */
  lostBeforeRefusal: number
}

function openSite(mode: Mode): Server {
  const { maxConnections: _, ...times } = socketLimits
  const server = mode === 'node' ? createServer({ ...times, requireHostHeader: false }) : createHttpServer()
  if (mode === 'node') {
    // Node's own responses to `Expect`; only their effect on the connection is compared.
    server.on('checkContinue', (request, response) => {
      continueOnRead(request, response)
      server.emit('request', request, response)
    })
    server.on('checkExpectation', (_, response) => {
      response.shouldKeepAlive = false
      response.writeHead(417).end()
    })
  }
  server.on('request', (request, response) => {
    const wire = request.socket as unknown as Wire
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      wire.taken.push(`${request.method} ${request.url} ${Buffer.concat(chunks).toString('latin1')}`)
      exchangeOf(request, response).send(200, [], 'ok')
    })
  })
  if (mode === 'on')
    openFastPath(
      server,
      {
        targetOf: (path) => (path.startsWith('/other') ? undefined : path),
        accept(path, exchange, body) {
          const wire = exchange.socket as unknown as Wire
          wire.byFastPath++
          wire.taken.push(`POST ${path} ${body.toString('latin1')}`)
          exchange.send(200, [], 'ok')
        },
      },
      { headers: ['authorization', 'content-type', 'idempotency-key'] },
    )
  return server
}

const seenBy = ({ taken, output, destroyed }: Wire): Seen => ({
  taken,
  statuses: [...output.matchAll(/HTTP\/1\.1 (?!100)(\d{3}) /g)].map(([, status]) => status!),
  isOpen: !destroyed,
})

/** Number of connections open at a time. */
const batchSize = 100
/** Event loop turns in which a server finishes processing what it has read. */
const turns = 3

export async function fuzz(seed: number, connections: number): Promise<FuzzResult> {
  // Node formats a stack for each refusal, which would take most of the time.
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = 0
  return run(seed, connections).finally(() => (Error.stackTraceLimit = stackTraceLimit))
}

async function run(seed: number, connections: number): Promise<FuzzResult> {
  const sites = modes.map(openSite)
  const result: FuzzResult = {
    connections,
    requests: 0,
    byFastPath: 0,
    differences: [],
    lostBeforeRefusal: 0,
  }
  for (let first = 0; first < connections; first += batchSize) {
    const cases = Array.from({ length: Math.min(batchSize, connections - first) }, (_, at) => {
      const caseSeed = seed * 1_000_003 + first + at
      const wires = sites.map((site) => {
        const wire = openWire()
        site.emit('connection', wire as unknown as Socket)
        return wire
      })
      return { caseSeed, pieces: fuzzedPieces(randomOf(caseSeed)), wires }
    })
    const reads = Math.max(...cases.map(({ pieces }) => pieces.length))
    for (let read = 0; read < reads; read++) {
      for (const { pieces, wires } of cases) {
        const piece = pieces[read]
        if (piece !== undefined) for (const wire of wires) give(wire, piece)
      }
      for (let turn = 0; turn < turns; turn++) await nextTurn()
    }
    for (const { caseSeed, pieces, wires } of cases) {
      const [on, off, node] = wires.map(seenBy) as [Seen, Seen, Seen]
      result.requests += node.taken.length
      result.byFastPath += wires[0]!.byFastPath
      for (const wire of wires) wire.destroy()
      const differs = [on, off].filter((seen) => JSON.stringify(seen) !== JSON.stringify(node))
      if (differs.length === 0) continue
      if (differs.every((seen) => isLost(seen, node))) result.lostBeforeRefusal++
      else {
        const bytes = pieces.map((piece) => JSON.stringify(piece.toString('latin1').slice(0, 2_000)))
        result.differences.push(
          `seed ${caseSeed}:\n${bytes.join('\n')}\n${JSON.stringify({ on, off, node }, null, 1)}`,
        )
      }
    }
  }
  return result
}

/** Returns uniform numbers in [0, 1): words of the hashes of the seed and a counter. */
function randomOf(seed: number): () => number {
  let words = new Uint32Array()
  let drawn = 0
  return () => {
    const at = drawn++ % 8
    if (at === 0) {
      const { buffer } = Uint8Array.from(createHash('sha256').update(`${seed} ${drawn}`).digest())
      words = new Uint32Array(buffer)
    }
    return words[at]! / 2 ** 32
  }
}

/**
 * Returns whether two servers refused at the same place and differ only before it. Node drops the requests and responses of the read that
 * contains the error. The fast path serves the requests before that read and hands the rest over as one piece.
 */
function isLost(one: Seen, other: Seen): boolean {
  if (one.isOpen || other.isOpen) return false
  const refusals = [one, other].map(({ statuses }) => statuses.at(-1))
  return refusals[0] !== '200' && refusals[0] === refusals[1] && isPrefix(one.taken, other.taken)
}

function isPrefix(one: readonly string[], other: readonly string[]): boolean {
  const length = Math.min(one.length, other.length)
  return one.slice(0, length).every((each, at) => each === other[at])
}
