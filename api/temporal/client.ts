/**
 * The API's way to Temporal. It connects when first needed and each call has a deadline, because the client's own patience is
 * ten seconds for a dead server and endless for a silent one.
 */
import { randomUUID } from 'node:crypto'
import { createConnection } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client, ConnectionOptions } from '@temporalio/client'
import { DomainError } from '../../domain/errors.ts'
import type { Config } from '../../temporal.config.ts'

export interface TemporalClient {
  /** The queue of the control worker. */
  taskQueue: string
  /** Runs one call within `withinMs`. Throws `temporal_unavailable` when the server does not answer, `deadline_exceeded` when what it asked did not. */
  call<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /** The same, after the server itself has answered within `answerMs`: for calls that wait for a workflow. */
  command<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /**
   * Connects before anybody asks, and runs a workflow that does nothing: what the client makes and compiles when the first one is
   * started takes it a tenth of a second. A server that does not answer is found out by whoever asks first.
   */
  warm(): Promise<void>
  close(): Promise<void>
}

/** How long the server itself may take to answer anything. */
export const callTimeoutMs = 900
/** The same before a command, which has to be written down within the second when there is no answer. */
const pingTimeoutMs = 800
/**
 * Makes a workflow start idempotent: the server returns the run that it started with this request id, also when that run has ended.
 * Uses an internal option of Temporal's client, because its public options have no request id; check it at each upgrade of the SDK.
 */
export const withRequestId = (id: string): object => ({
  [Symbol.for('__temporal_internal_client_workflow_start_options')]: { requestId: id },
})

/** How long a worker may take that is as new. */
const readyMs = 10_000
/** How long a call that has been given up may take to be over, before the connection is closed all the same. */
const settleMs = 2_000
/** How long it takes at most to be told that nobody listens. */
const connectTimeoutMs = 200

export function createTemporalClient({
  temporal,
  taskQueues,
}: Pick<Config, 'temporal' | 'taskQueues'>): TemporalClient {
  let opened: Promise<Client> | undefined
  // Whether it has yet to be seen that anybody is there.
  let doubted = true
  // Also those that nobody waits for any more.
  const underway = new Set<Promise<unknown>>()
  const open = (): Promise<Client> => {
    opened ??= connect(temporal)
    // A failed start of the library must not be the answer for ever.
    opened.catch(() => (opened = undefined))
    return opened
  }
  const within = async <T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T> => {
    // Before the library is loaded, which takes longer than a caller has to wait for this.
    if (doubted && (await isDeserted(temporal.address)))
      throw new Error(`failed to connect: nobody listens at ${temporal.address}`)
    const client = await open()
    // The deadline of the protocol begins only when the connection stands.
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`deadline of ${withinMs} ms`)), withinMs)
    })
    try {
      const asked = client.connection.withDeadline(Date.now() + withinMs, () => work(client))
      underway.add(asked)
      const over = () => void underway.delete(asked)
      asked.then(over, over)
      const done = await Promise.race([asked, late])
      doubted = false
      return done
    } catch (error) {
      doubted = isSilence(error)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
  const ping = async (): Promise<void> => {
    try {
      await within(pingTimeoutMs, (client) => client.workflowService.getSystemInfo({}))
    } catch (error) {
      throw unavailable(error)
    }
  }
  return {
    taskQueue: taskQueues.control,
    async call(withinMs, work) {
      try {
        return await within(withinMs, work)
      } catch (error) {
        throw isSilence(error) ? unavailable(error) : error
      }
    },
    async command(withinMs, work) {
      await ping()
      try {
        return await within(withinMs, work)
      } catch (error) {
        if (codeOf(error) === grpc.unavailable) throw unavailable(error)
        if (!isSilence(error)) throw error
        // It may have gone away over it.
        await ping()
        throw new DomainError(
          'deadline_exceeded',
          `the workflow did not answer within ${withinMs} ms; the command may still be carried out`,
        )
      }
    },
    async warm() {
      try {
        await ping()
        const asked = { workflowId: `ready/${randomUUID()}`, taskQueue: taskQueues.control }
        await within(readyMs, (client) => client.workflow.execute('warmUp', asked))
      } catch {
        // Whoever asks first is told.
      }
    },
    async close() {
      const client = await opened?.catch(() => undefined)
      // The library asks again on a connection that is closed, and nobody could catch what comes of it.
      const patience = new AbortController()
      await Promise.race([
        Promise.allSettled(underway),
        pause(settleMs, undefined, { signal: patience.signal }).catch(() => {}),
      ])
      patience.abort()
      await client?.connection.close()
    },
  }
}

async function connect({ address, namespace, apiKey, tls }: Config['temporal']): Promise<Client> {
  // Loaded when first needed: it would double the time to the first prediction.
  const { Client, Connection } = await import('./sdk.ts')
  const connection = Connection.lazy({
    address,
    connectTimeout: callTimeoutMs,
    // By default a server that was away for long is tried again only every two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000 },
    apiKey,
    tls: tls === undefined ? undefined : (tls as NonNullable<ConnectionOptions['tls']>),
  })
  return new Client({ connection, namespace })
}

/** Whether a connection is refused. An address that is no host with a port, and a host that is silent, are left to the library. */
function isDeserted(address: string): Promise<boolean> {
  const [, host, port] = /^\[?([^/[\]]+?)\]?:(\d+)$/.exec(address) ?? []
  if (host === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(port), timeout: connectTimeoutMs })
    const tell = (deserted: boolean) => {
      socket.destroy()
      resolve(deserted)
    }
    socket.once('connect', () => tell(false))
    socket.once('timeout', () => tell(false))
    socket.once('error', (error: NodeJS.ErrnoException) => tell(error.code === 'ECONNREFUSED'))
  })
}

/** Status codes of gRPC. */
const grpc = { cancelled: 1, deadlineExceeded: 4, unavailable: 14 } as const

/** The gRPC status of an error or of what caused it. */
function codeOf(error: unknown): number | undefined {
  for (
    let each = error;
    typeof each === 'object' && each !== null;
    each = (each as { cause?: unknown }).cause
  ) {
    const { code } = each as { code?: unknown }
    if (typeof code === 'number') return code
  }
  return undefined
}

function isSilence(error: unknown): boolean {
  const code = codeOf(error)
  if (code === grpc.deadlineExceeded || code === grpc.unavailable || code === grpc.cancelled) return true
  return /failed to connect|deadline/i.test((error as Error | null)?.message ?? '')
}

const unavailable = (error: unknown): DomainError =>
  new DomainError('temporal_unavailable', `Temporal did not answer: ${(error as Error).message}`)
