/** Explains the failures of the Kafka client, and tells which of them a repetition can help. */
import { AuthenticationError, findErrorBy } from '@platformatic/kafka'
import { setTimeout as pause } from 'node:timers/promises'
import type { KafkaSettings } from '../settings.ts'

const closeMs = 3_000

/**
 * Suggests a setting for a broker that closes the connection. With TLS 1.3, the client does not learn that the broker refused its
 * certificate.
 */
export function hintOf({ tls }: KafkaSettings): string | undefined {
  if (tls === undefined) return undefined
  if (tls.cert === undefined)
    return 'the broker may ask for a certificate of its clients (ssl.client.auth=required): set kafka.tls.cert and kafka.tls.key in the file of streams'
  return 'the broker may not accept the certificate in kafka.tls.cert: it must trust its authority (ssl.truststore)'
}

/** A transaction is completed a few milliseconds after its commit. The next one must wait for that, but not for a second. */
export const retryDelayOf =
  (hint: string | undefined) =>
  (_client: object, _operation: string, attempt: number, _retries: number, error: Error): number => {
    if (findErrorBy(error, 'apiId', 'CONCURRENT_TRANSACTIONS')) return Math.min(5 * attempt, 100)
    const causes = causesOf(error)
    return causes.some(isPermanent) || (hint !== undefined && causes.some(isClosed)) ? 1 : 400
  }

/** Whether the broker closed the connection itself. A broker that is down refuses the next connection instead, with another error. */
const isClosed = ({ message }: Error): boolean => message.startsWith('Connection closed')

/** Whether repeating cannot help: a wrong password or certificate stays wrong. */
function isPermanent(error: Error): boolean {
  const { code = '' } = error as NodeJS.ErrnoException
  return error instanceof AuthenticationError || /CERT|SIGNATURE|^ERR_(TLS|SSL)/.test(code)
}

/** Returns an error with its causes. The client wraps the original cause in the operation that it gave up. */
function causesOf(error: unknown): Error[] {
  if (!(error instanceof Error)) return []
  const { errors } = error as Partial<AggregateError>
  return [error, ...causesOf((errors as unknown[] | undefined)?.at(-1) ?? error.cause)]
}

export function kafkaFailure(error: unknown, hint: string | undefined): Error {
  const causes = causesOf(error)
  const messages = causes.map(({ message }) => message.replace(/\.$/, ''))
  if (hint !== undefined && causes.some(isClosed)) messages.push(hint)
  return new Error(`Kafka: ${[...new Set(messages)].join(': ')}`, { cause: error })
}

/** Whether the group has new members or a new generation. The consumer then joins it again without help. */
export const hasMoved = (error: unknown): boolean => findErrorBy(error as Error, 'needsRejoin', true) !== null

/** Waits for an operation that may fail, or never end because the broker is down. */
export async function waitForEnd(ending: Promise<unknown>): Promise<void> {
  const late = new AbortController()
  await Promise.race([
    ending.catch(() => undefined),
    pause(closeMs, undefined, { signal: late.signal }).catch(() => undefined),
  ])
  late.abort()
}
