/**
 * The API's way to Temporal. It connects when first needed and each call has a deadline, because the client's own patience is
 * ten seconds for a dead server and endless for a silent one.
 */
import type { Client, ConnectionOptions } from '@temporalio/client'
import { DomainError } from '../domain/errors.ts'
import type { Config } from '../temporal.config.ts'

export interface TemporalClient {
  /** The queue of the control worker. */
  taskQueue: string
  /** Runs one call within `withinMs`. Throws `temporal_unavailable` when the server does not answer, `deadline_exceeded` when what it asked did not. */
  call<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /** The same, after the server itself has answered within `answerMs`: for calls that wait for a workflow. */
  command<T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T>
  /** Connects before anybody asks. A server that does not answer is found out by whoever asks first. */
  warm(): Promise<void>
  close(): Promise<void>
}

/** How long the server itself may take to answer anything. */
export const answerMs = 900

export function createTemporalClient({
  temporal,
  taskQueues,
}: Pick<Config, 'temporal' | 'taskQueues'>): TemporalClient {
  let opened: Promise<Client> | undefined
  const open = (): Promise<Client> => {
    opened ??= connect(temporal)
    // A failed start of the library must not be the answer for ever.
    opened.catch(() => (opened = undefined))
    return opened
  }
  const within = async <T>(withinMs: number, work: (client: Client) => Promise<T>): Promise<T> => {
    const client = await open()
    // The deadline of the protocol begins only when the connection stands.
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`deadline of ${withinMs} ms`)), withinMs)
    })
    try {
      return await Promise.race([
        client.connection.withDeadline(Date.now() + withinMs, () => work(client)),
        late,
      ])
    } finally {
      clearTimeout(timer)
    }
  }
  const ping = async (): Promise<void> => {
    try {
      await within(answerMs, (client) => client.workflowService.getSystemInfo({}))
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
        throw new DomainError(
          'deadline_exceeded',
          `the workflow did not answer within ${withinMs} ms; the command may still be carried out`,
        )
      }
    },
    async warm() {
      await ping().catch(() => {})
    },
    async close() {
      const client = await opened?.catch(() => undefined)
      await client?.connection.close()
    },
  }
}

async function connect({ address, namespace, apiKey, tls }: Config['temporal']): Promise<Client> {
  // Loaded when first needed: it would double the time to the first prediction.
  const { Client, Connection } = await import('./temporal-client.ts')
  const connection = Connection.lazy({
    address,
    connectTimeout: answerMs,
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(tls === undefined ? {} : { tls: tls as NonNullable<ConnectionOptions['tls']> }),
  })
  return new Client({ connection, namespace })
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
