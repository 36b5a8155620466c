/**
 * Connects to Temporal on first use, with a deadline for each call. The SDK waits ten seconds for a dead server and forever for a silent
 * one.
 */
import { randomUUID } from 'node:crypto'
import { createConnection } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Client, ConnectionOptions, WorkflowClientInterceptor } from '@temporalio/client'
import { DomainError, isError } from '../../domain/errors.ts'
import { isFull } from '../../store/outage.ts'
import type { Config } from '../../temporal.config.ts'

export interface TemporalClient {
  /** The task queue of the control workers. */
  taskQueue: string
  namespace: string
  /** Calls the server. Throws `temporal_unavailable` when it does not respond within `withinMs`. */
  call<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /** Calls a workflow and waits for it, after a ping of the server. Throws `deadline_exceeded` when the workflow does not respond. */
  command<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /**
   * Connects before the first call and runs a no-op workflow, because the SDK compiles for a tenth of a second at the first start. Ignores
   * a server that does not respond.
   */
  warm(): Promise<void>
  close(): Promise<void>
}

/** The deadline of a call that only the server answers. */
export const callTimeoutMs = 900
/** The deadline of the ping before a command. Without a response, the command must still be stored within a second. */
const pingTimeoutMs = 800
/**
 * Makes a workflow start idempotent. The server returns the run that it started with this request id, even when that run has ended. Uses an
 * internal option of Temporal's client, because its public options have no request id; check it at each upgrade of the SDK.
 */
export const withRequestId = (id: string): object => ({
  [Symbol.for('__temporal_internal_client_workflow_start_options')]: { requestId: id },
})

/** The deadline of the no-op workflow. */
const warmUpMs = 10_000
/** How long `close` waits for abandoned calls. */
const settleMs = 2_000
/** The deadline of the probe for a refused connection. */
const connectTimeoutMs = 200

export function createTemporalClient({
  temporal,
  taskQueues,
  interceptor,
}: Pick<Config, 'temporal' | 'taskQueues'> & { interceptor?: WorkflowClientInterceptor }): TemporalClient {
  let opened: Promise<Client> | undefined
  // Whether this process's keys can read the payloads of open workflows.
  let isReadable = false
  // Whether to probe the port before the next call.
  let isDoubted = true
  // The calls in progress, including calls that timed out.
  const underway = new Set<Promise<unknown>>()
  const open = (): Promise<Client> => {
    opened ??= connect(temporal, interceptor)
    // The next call retries a failed import of the SDK.
    opened.catch(() => (opened = undefined))
    return opened
  }
  const callWithin = async <T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T> => {
    // Probes before the SDK is loaded, because loading takes longer.
    if (isDoubted && (await isRefused(temporal.address)))
      throw new Error(`failed to connect: connection refused at ${temporal.address}`)
    const client = await open()
    try {
      const asked = client.connection.withDeadline(Date.now() + withinMs, async () => {
        if (!isReadable) await requireReadable(client, { temporal, taskQueues })
        isReadable = true
        return work(client)
      })
      underway.add(asked)
      const over = () => void underway.delete(asked)
      asked.then(over, over)
      const done = await orLate(asked, withinMs)
      isDoubted = false
      return done
    } catch (error) {
      isDoubted = isSilence(error)
      throw error
    }
  }
  const ping = async (): Promise<void> => {
    try {
      await callWithin(pingTimeoutMs, (client) => client.workflowService.getSystemInfo({}))
    } catch (error) {
      throw isError(error, 'configuration_invalid') ? error : unavailable(error)
    }
  }
  return {
    taskQueue: taskQueues.control,
    namespace: temporal.namespace,
    async call(withinMs, work) {
      try {
        return await callWithin(withinMs, work)
      } catch (error) {
        throw isSilence(error) ? unavailable(error) : error
      }
    },
    async command(withinMs, work) {
      await ping()
      try {
        return await callWithin(withinMs, work)
      } catch (error) {
        if (codeOf(error) === grpc.unavailable) throw unavailable(error)
        if (!isSilence(error)) throw error
        // The server may have failed in the meantime.
        await ping()
        throw new DomainError(
          'deadline_exceeded',
          `the workflow did not respond within ${withinMs} ms; the command may still take effect`,
        )
      }
    },
    async warm() {
      try {
        await ping()
        const asked = { workflowId: `ready/${randomUUID()}`, taskQueue: taskQueues.control }
        await callWithin(warmUpMs, (client) => client.workflow.execute('warmUp', asked))
      } catch {
        // The first call reports the error.
      }
    },
    async close() {
      const client = await opened?.catch(() => undefined)
      // The SDK retries on a closed connection, and its rejection could not be caught.
      await settled(underway)
      await client?.connection.close()
    },
  }
}

/** Rejects after `withinMs`: the gRPC deadline starts only after the connection is open. */
async function orLate<T>(asked: Promise<T>, withinMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`deadline of ${withinMs} ms`)), withinMs)
  })
  return Promise.race([asked, late]).finally(() => clearTimeout(timer))
}

/** Resolves when all calls have ended, or after a while. */
async function settled(underway: ReadonlySet<Promise<unknown>>): Promise<void> {
  const waiting = new AbortController()
  await Promise.race([
    Promise.allSettled(underway),
    pause(settleMs, undefined, { signal: waiting.signal }).catch(() => {}),
  ])
  waiting.abort()
}

/** Throws unless the keys of this process can read the payloads of open workflows. */
async function requireReadable(
  { workflowService: service }: Client,
  { temporal, taskQueues }: Pick<Config, 'temporal' | 'taskQueues'>,
): Promise<void> {
  const { requireReadablePayloads } = await import('./sdk.ts')
  const { namespace, payloadKeys: keys } = temporal
  await requireReadablePayloads({ service, namespace, taskQueues: Object.values(taskQueues), keys })
}

async function connect(
  { address, namespace, apiKey, tls, payloadKeys }: Config['temporal'],
  interceptor: WorkflowClientInterceptor | undefined,
): Promise<Client> {
  // Loaded on first use, because it would double the time to the first prediction.
  const { Client, Connection, dataConverterOf } = await import('./sdk.ts')
  const connection = Connection.lazy({
    address,
    connectTimeout: callTimeoutMs,
    // By default the SDK retries an unreachable server only every two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000 },
    apiKey,
    tls: tls === undefined ? undefined : (tls as NonNullable<ConnectionOptions['tls']>),
  })
  const interceptors = interceptor && { workflow: [interceptor] }
  return new Client({ connection, namespace, interceptors, dataConverter: dataConverterOf({ payloadKeys }) })
}

/** Whether the connection is refused. False for addresses that cannot be parsed and for silent hosts, which the SDK handles. */
function isRefused(address: string): Promise<boolean> {
  const [, host, port] = /^\[?([^/[\]]+?)\]?:(\d+)$/.exec(address) ?? []
  if (host === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    const socket = createConnection({ host, port: Number(port), timeout: connectTimeoutMs })
    const settle = (isRefused: boolean) => {
      socket.destroy()
      resolve(isRefused)
    }
    socket.once('connect', () => settle(false))
    socket.once('timeout', () => settle(false))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'))
  })
}

/** The gRPC status codes. */
const grpc = { cancelled: 1, deadlineExceeded: 4, unavailable: 14 } as const

/** Returns the gRPC status of an error or of its cause. */
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
  if (isFull(error)) return true
  const code = codeOf(error)
  if (code === grpc.deadlineExceeded || code === grpc.unavailable || code === grpc.cancelled) return true
  return /failed to connect|deadline/i.test((error as Error | null)?.message ?? '')
}

const unavailable = (error: unknown): DomainError =>
  new DomainError('temporal_unavailable', `Temporal did not respond: ${(error as Error).message}`)
