/**
 * Sends signed requests to S3 and retries those that may succeed later. The signature covers the SHA-256 of the body, so a server rejects
 * bytes that were changed or truncated on the way.
 */
import { AwsV4Signer } from 'aws4fetch'
import { createHash } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { isError, type DomainError } from '../../../domain/errors.ts'
import { storeUnavailable, type S3Settings } from '../object-store.ts'
import { elementText } from './xml.ts'
import { outgoingFetch } from '../../outgoing-fetch.ts'

export interface S3Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Relative to the prefix of the store; empty for the bucket. */
  path: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Uint8Array
}

export interface S3Response {
  status: number
  headers: Headers
  /** Whether the request was sent before. The store may have carried it out then, and its response was lost. */
  isRepeated: boolean
  /** Reads the body. A transfer that stalls or ends early is an error. */
  bytes(): AsyncIterable<Uint8Array>
  /** The `<Code>` and `<Message>` of an error. */
  error?: { code: string; message: string }
}

export interface RequestLimits {
  attempts: number
  /** A transfer fails after this time without a byte. */
  silentMs: number
  /** The maximum of the first pause; each next one may be twice as long. */
  pauseMs: number
}

const defaultLimits: RequestLimits = { attempts: 4, silentMs: 20_000, pauseMs: 250 }

/** The minimum speed of an upload in bytes per second, in addition to `silentMs`. */
const slowestBytes = 262_144
/** The maximum size of an error document. */
const maxErrorBytes = 65_536

const emptyHash = createHash('sha256').update('').digest('hex')

/** S3's error codes that allow a retry; every status from 500 on does too. */
const laterCodes = ['SlowDown', 'RequestTimeout', 'ConditionalRequestConflict', 'OperationAborted']

export function createS3Requests(settings: S3Settings, limits: RequestLimits = defaultLimits) {
  const { bucket, endpoint, pathStyle, prefix, region } = settings
  const address = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`
  const unavailable = (why: string): DomainError => storeUnavailable(`${address} at ${endpoint}`, why)

  const urlOf = ({ path, query = {} }: S3Request): string => {
    const base = new URL(endpoint)
    if (!pathStyle) base.hostname = `${bucket}.${base.hostname}`
    const segments = [...(pathStyle ? [bucket] : []), ...(path === '' ? [] : path.split('/'))]
    base.pathname = `/${segments.map(encodeURIComponent).join('/')}`
    for (const [name, value] of Object.entries(query)) base.searchParams.set(name, value)
    return base.toString()
  }

  const once = async (request: S3Request, isRepeated: boolean): Promise<S3Response> => {
    const { method, headers = {}, body } = request
    const hash = body === undefined ? emptyHash : createHash('sha256').update(body).digest('hex')
    const signed = await new AwsV4Signer({
      ...settings.credentials(),
      method,
      url: urlOf(request),
      headers: { ...headers, 'x-amz-content-sha256': hash },
      service: 's3',
      region,
    }).sign()
    const silence = new AbortController()
    const silentMs = limits.silentMs + ((body?.byteLength ?? 0) / slowestBytes) * 1_000
    const timer = setTimeout(
      () => silence.abort(new Error(`no answer for ${Math.round(silentMs)} ms`)),
      silentMs,
    )
    timer.unref()
    try {
      const response = await outgoingFetch(signed.url, {
        method,
        headers: [...signed.headers],
        body,
        redirect: 'manual',
        signal: silence.signal,
      })
      const read = async function* () {
        try {
          for await (const chunk of response.body ?? []) {
            timer.refresh()
            yield chunk as Uint8Array
          }
        } finally {
          clearTimeout(timer)
        }
      }
      const answer = { status: response.status, headers: response.headers, isRepeated, bytes: read }
      if (response.status >= 200 && response.status < 300) {
        if (method !== 'GET' && method !== 'POST') await drained(read())
        return answer
      }
      const text = await drained(read())
      return {
        ...answer,
        error: {
          code: elementText(text, 'Code') ?? `status ${response.status}`,
          message: elementText(text, 'Message') ?? '',
        },
      }
    } catch (error) {
      clearTimeout(timer)
      throw silence.signal.aborted ? silence.signal.reason : error
    }
  }

  /** Retries `work` after network failures and after responses that allow a retry. Finally throws `object_store_unavailable`. */
  const repeat = async <T>(work: (isRepeated: boolean) => Promise<T>): Promise<T> => {
    for (let attempt = 1; ; attempt++)
      try {
        return await work(attempt > 1)
      } catch (error) {
        // A rejection, which no retry changes, or a failure of the local disk.
        if (isError(error) || isLocal(error)) throw error
        const why = isLater(error) ? (error as Error).message : `does not answer: ${causeOf(error)}`
        if (attempt >= limits.attempts) throw unavailable(why)
        await pause(limits.pauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2))
      }
  }

  const send = async (
    request: S3Request,
    expected: readonly number[],
    isRepeated: boolean,
  ): Promise<S3Response> => {
    const answer = await once(request, isRepeated)
    const { status, error } = answer
    // A missing bucket gets the same response as a missing object.
    if (error?.code === 'NoSuchBucket')
      throw unavailable(`has no bucket ${bucket}: create it, or correct its name`)
    if ((status >= 200 && status < 300) || expected.includes(status)) return answer
    const { code, message } = error ?? { code: `status ${status}`, message: '' }
    const said = `${code}${message === '' ? '' : `: ${message.slice(0, 300)}`}`
    if (status >= 500 && status !== 501) throw later(`answered ${said}`)
    if (status === 408 || status === 429 || laterCodes.includes(code)) throw later(`answered ${said}`)
    throw unavailable(`refused ${request.method} ${request.path || bucket}: ${said}${hintOf(answer, region)}`)
  }

  return {
    address,
    unavailable,
    /**
     * Sends a request and reads its response with `take`; both are retried together. `expected`: further statuses that are not errors.
     */
    request: <T>(
      request: S3Request,
      expected: readonly number[],
      take: (answer: S3Response) => Promise<T>,
    ): Promise<T> => repeat(async (isRepeated) => take(await send(request, expected, isRepeated))),
  }
}

export type S3Requests = ReturnType<typeof createS3Requests>

/** An error after which the request is retried. */
const later = (said: string): Error => Object.assign(new Error(said), { isLater: true })

const isLater = (error: unknown): boolean => (error as { isLater?: boolean }).isLater === true

function hintOf({ status, headers, error }: S3Response, region: string): string {
  const actual = headers.get('x-amz-bucket-region')
  if (actual !== null && actual !== region) return ` (the bucket is in ${actual}: set AWS_REGION)`
  if (status === 301 || status === 307) return ' (another endpoint: set AWS_REGION or TENURE_S3_ENDPOINT)'
  if (status === 501) return ' (this store lacks conditional writes, which are required)'
  if (error?.code === 'RequestTimeTooSkewed') return ' (set the clock of this machine)'
  return ''
}

async function drained(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    if (bytes < maxErrorBytes) parts.push(chunk)
    bytes += chunk.length
  }
  return Buffer.concat(parts).toString('utf8')
}

/** Node reports every connection failure as "fetch failed", with the reason in the cause. */
function causeOf(error: unknown): string {
  const { message, cause } = error as Error
  const within = cause as (Error & { code?: string }) | undefined
  return (within?.code ?? within?.message ?? message) || 'no reason is given'
}

/** An error of a local file has a system call and no address. */
const isLocal = (error: unknown): boolean => {
  const { syscall, path } = error as { syscall?: string; path?: string }
  return syscall !== undefined && (path !== undefined || syscall === 'write' || syscall === 'fsync')
}
