/**
 * Stores objects in an S3 bucket, or on a server with the same protocol. Large objects are uploaded in parts and appear when the last
 * part has arrived.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { AwsV4Signer } from 'aws4fetch'
import {
  requireKey,
  objectTooLarge,
  type ObjectBody,
  type ObjectFacts,
  type ObjectStore,
  type S3Settings,
  storeUnavailable,
} from '../object-store.ts'
import { digestOfChunks } from '../slices.ts'
import { DomainError, isError } from '../../../domain/errors.ts'
import { boundedText } from '../../bounded-text.ts'
import { outgoingFetch } from '../../outgoing-fetch.ts'

export interface S3StoreOptions {
  limits?: RequestLimits
  /** Larger objects are uploaded in parts of this size; at least 5 MiB, the minimum of S3. */
  partBytes?: number
  /** Keys per page of a listing; at most 1,000. */
  pageKeys?: number
}

const defaultPartBytes = 16_777_216
/** The limit of the protocol. */
const maxParts = 10_000
const defaultPageKeys = 1_000

export function openS3Store(
  settings: S3Settings,
  { limits, partBytes = defaultPartBytes, pageKeys = defaultPageKeys }: S3StoreOptions = {},
): ObjectStore {
  const requests = createS3Requests(settings, limits)
  const inPrefix = settings.prefix === '' ? '' : `${settings.prefix}/`
  const pathOf = (key: string): string => inPrefix + requireKey(key)
  const nameOf = (key: string): string => `s3://${settings.bucket}/${pathOf(key)}`
  return {
    address: requests.address,
    async put(key, body, { ifAbsent = false } = {}) {
      const path = pathOf(key)
      const headers: Record<string, string> = ifAbsent ? { 'if-none-match': '*' } : {}
      const bytes = 'path' in body ? (await stat(body.path)).size : body.byteLength
      if (bytes > partBytes) return putParts(requests, { path, body, bytes, partBytes, headers })
      const whole = 'path' in body ? await readWhole(body.path, bytes) : body
      const answer = await requests.request({ method: 'PUT', path, headers, body: whole }, [412], itself)
      if (answer.status !== 412) return true
      return answer.isRepeated && (await isStored(requests, { path, body, bytes }))
    },
    get: (key, maxBytes = Infinity) =>
      requests.request({ method: 'GET', path: pathOf(key) }, [404], async (answer) => {
        if (answer.status === 404) return undefined
        const length = lengthOf(answer)
        if (length > maxBytes) objectTooLarge(nameOf(key), length, maxBytes)
        const parts: Uint8Array[] = []
        let bytes = 0
        for await (const chunk of answer.bytes()) {
          bytes += chunk.length
          if (bytes > maxBytes) objectTooLarge(nameOf(key), bytes, maxBytes)
          parts.push(chunk)
        }
        return Buffer.concat(parts)
      }),
    download: (key, path) =>
      requests.request({ method: 'GET', path: pathOf(key) }, [404], (answer) =>
        answer.status === 404 ? Promise.resolve(undefined) : writeTo(path, answer),
      ),
    find: (key) =>
      requests.request({ method: 'HEAD', path: pathOf(key) }, [404], (answer) =>
        Promise.resolve(
          answer.status === 404
            ? undefined
            : {
                key,
                bytes: lengthOf(answer),
                writtenMs: Date.parse(answer.headers.get('last-modified') ?? ''),
              },
        ),
      ),
    async *list(prefix) {
      let token: string | undefined
      do {
        const page = await listPage(requests, { prefix: inPrefix + prefix, token, pageKeys })
        for (const { key, ...facts } of page.objects)
          if (key.startsWith(inPrefix)) yield { key: key.slice(inPrefix.length), ...facts }
        token = page.next
      } while (token !== undefined)
    },
    remove: (key) =>
      requests.request({ method: 'DELETE', path: pathOf(key) }, [404], () => Promise.resolve()),
  }
}

const itself = <T>(answer: T): Promise<T> => Promise.resolve(answer)

const lengthOf = ({ headers }: S3Response): number => Number(headers.get('content-length') ?? 0)

async function readWhole(path: string, bytes: number): Promise<Uint8Array> {
  const file = await open(path)
  try {
    return await readAt(file, 0, bytes)
  } finally {
    await file.close()
  }
}

async function readAt(file: FileHandle, from: number, bytes: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(bytes)
  let read = 0
  while (read < bytes) {
    const { bytesRead } = await file.read(buffer, read, bytes - read, from + read)
    if (bytesRead === 0) break
    read += bytesRead
  }
  return buffer.subarray(0, read)
}

/** Overwrites the part of the file that an earlier attempt left. */
async function writeTo(path: string, answer: S3Response): Promise<{ bytes: number; digest: string }> {
  const hash = createHash('sha256')
  const file = await open(path, 'w', 0o600)
  let bytes = 0
  try {
    for await (const chunk of answer.bytes()) {
      hash.update(chunk)
      await file.write(chunk)
      bytes += chunk.length
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return { bytes, digest: `sha256:${hash.digest('hex')}` }
}

interface PartedObject {
  path: string
  body: ObjectBody
  bytes: number
  partBytes: number
  headers: Record<string, string>
}

/** Aborts an upload that fails, because the bucket would keep its parts. */
async function putParts(requests: S3Requests, object: PartedObject): Promise<boolean> {
  const { path, body, bytes } = object
  const partBytes = Math.max(object.partBytes, Math.ceil(bytes / maxParts))
  const id = await requests.request({ method: 'POST', path, query: { uploads: '' } }, [], async (answer) =>
    elementText(await textIn(answer), 'UploadId'),
  )
  if (id === undefined) throw requests.unavailable('began no upload')
  const file = 'path' in body ? await open(body.path) : undefined
  try {
    const tags: string[] = []
    for (let from = 0; from < bytes; from += partBytes) {
      const size = Math.min(partBytes, bytes - from)
      const part = 'path' in body ? await readAt(file!, from, size) : body.subarray(from, from + size)
      const query = { partNumber: String(tags.length + 1), uploadId: id }
      tags.push(
        await requests.request({ method: 'PUT', path, query, body: part }, [], (answer) =>
          Promise.resolve(answer.headers.get('etag') ?? ''),
        ),
      )
    }
    return await completeParts(requests, object, { id, tags })
  } catch (error) {
    await abortParts(requests, path, id).catch(() => {})
    throw error
  } finally {
    await file?.close()
  }
}

async function completeParts(
  requests: S3Requests,
  object: PartedObject,
  { id, tags }: { id: string; tags: readonly string[] },
): Promise<boolean> {
  const { path, headers } = object
  const listed = tags.map(
    (tag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escaped(tag)}</ETag></Part>`,
  )
  const body = Buffer.from(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`)
  const { status, isRepeated } = await requests.request(
    { method: 'POST', path, query: { uploadId: id }, headers, body },
    [404, 412],
    async (answer) => {
      // After a completion whose response was lost, some stores no longer know the upload.
      if (answer.status === 412 || (answer.status === 404 && answer.isRepeated)) return answer
      const code = answer.error ?? (await errorIn(answer))
      if (code !== undefined) throw requests.unavailable(`completed no upload: ${code}`)
      return answer
    },
  )
  if (status < 300) return true
  const isWritten = isRepeated && (await isStored(requests, object))
  if (status === 404 && !isWritten) throw requests.unavailable('has lost the upload before it was complete')
  await abortParts(requests, path, id)
  return isWritten
}

/** S3 may respond with 200 first and write an error into the document. */
async function errorIn(answer: S3Response): Promise<string | undefined> {
  const text = await textIn(answer)
  return text.includes('<Error>') ? (knownCodeIn(text) ?? 'an error') : undefined
}

/** Whether the object has the content of this body: then an earlier attempt has written it, and its response was lost. */
async function isStored(
  requests: S3Requests,
  { path, body, bytes }: Pick<PartedObject, 'path' | 'body' | 'bytes'>,
): Promise<boolean> {
  const there = await requests.request({ method: 'HEAD', path }, [404], itself)
  if (there.status === 404 || lengthOf(there) !== bytes) return false
  const digest = await requests.request({ method: 'GET', path }, [404], (answer) =>
    digestOfChunks(answer.bytes()),
  )
  return digest === (await digestOfChunks('path' in body ? createReadStream(body.path) : [body]))
}

const abortParts = (requests: S3Requests, path: string, uploadId: string): Promise<void> =>
  requests.request({ method: 'DELETE', path, query: { uploadId } }, [404], () => Promise.resolve())

const escaped = (text: string): string => text.replaceAll(/[&<>"]/g, (sign) => `&#${sign.codePointAt(0)};`)

async function textIn(answer: S3Response): Promise<string> {
  const text = await boundedText(answer.bytes(), maxDocumentBytes)
  if (text.length >= maxDocumentBytes)
    throw new DomainError(
      'answer_too_large',
      `the object store sends a document of ${maxDocumentBytes} bytes or more`,
    )
  return text
}

async function listPage(
  requests: S3Requests,
  { prefix, token, pageKeys }: { prefix: string; token: string | undefined; pageKeys: number },
): Promise<{ objects: ObjectFacts[]; next?: string }> {
  const query: Record<string, string> = { 'list-type': '2', 'max-keys': String(pageKeys), prefix }
  // Key names may contain characters that XML cannot.
  query['encoding-type'] = 'url'
  if (token !== undefined) query['continuation-token'] = token
  return requests.request({ method: 'GET', path: '', query }, [], async (answer) => {
    const document = await textIn(answer)
    const isTruncated = elementText(document, 'IsTruncated') === 'true'
    return {
      next: isTruncated ? elementText(document, 'NextContinuationToken') : undefined,
      objects: elementsOf(document, 'Contents').map((each) => ({
        key: decodeURIComponent((elementText(each, 'Key') ?? '').replaceAll('+', ' ')),
        bytes: Number(elementText(each, 'Size')),
        writtenMs: Date.parse(elementText(each, 'LastModified') ?? ''),
      })),
    }
  })
}

// Sends signed requests to S3 and retries those that may succeed later. The signature covers the SHA-256 of the body, so a server rejects
// bytes that were changed or truncated on the way.

export interface S3Request {
  method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Relative to the prefix of the store; empty for the bucket. */
  path: string
  query?: Record<string, string>
  headers?: Record<string, string>
  body?: Uint8Array
}

interface S3Response {
  status: number
  headers: Headers
  /** Whether the request was sent before. The store may have carried it out then, and its response was lost. */
  isRepeated: boolean
  /** Reads the body. A transfer that stalls or ends early is an error. */
  bytes(): AsyncIterable<Uint8Array>
  /** The `<Code>` of an error, if it is a known one; otherwise the status. */
  error?: string
}

interface RequestLimits {
  attempts: number
  /** A transfer fails after this time without a byte. */
  silentMs: number
  /** The maximum of the first pause; each next one may be twice as long. */
  pauseMs: number
}

const defaultLimits: RequestLimits = { attempts: 4, silentMs: 20_000, pauseMs: 250 }

/** The minimum speed of an upload in bytes per second, in addition to `silentMs`. */
const slowestBytes = 262_144
/** The maximum size of an object in S3, and of what is read as one. */
const maxObjectBytes = 5 * 1_024 ** 4
/** The maximum size of a page of a listing with 1,000 keys, and of another document. */
const maxDocumentBytes = 16_777_216
/** The maximum size of an error document. */
const maxErrorBytes = 65_536
/** The longest transfer. */
const maxTransferMs = 86_400_000

const emptyHash = createHash('sha256').update('').digest('hex')

/** S3's error codes that allow a retry; every status from 500 on does too. */
const laterCodes = ['SlowDown', 'RequestTimeout', 'ConditionalRequestConflict', 'OperationAborted']
/** The error codes that messages name. Any other text of an answer is kept out of messages, because these are stored. */
const knownCodes = [
  ...laterCodes,
  'AccessDenied',
  'AuthorizationHeaderMalformed',
  'EntityTooLarge',
  'ExpiredToken',
  'InternalError',
  'InvalidAccessKeyId',
  'InvalidArgument',
  'InvalidPart',
  'InvalidRequest',
  'InvalidToken',
  'NoSuchBucket',
  'NoSuchKey',
  'NoSuchUpload',
  'NotImplemented',
  'PermanentRedirect',
  'PreconditionFailed',
  'QuotaExceeded',
  'RequestTimeTooSkewed',
  'ServiceUnavailable',
  'SignatureDoesNotMatch',
  'XMinioStorageFull',
]
const knownCodeIn = (document: string): string | undefined => {
  const named = elementText(document, 'Code')
  return knownCodes.find((code) => code === named)
}

function createS3Requests(settings: S3Settings, limits: RequestLimits = defaultLimits) {
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
    const maxSilentMs = limits.silentMs + ((body?.byteLength ?? 0) / slowestBytes) * 1_000
    const answer = await outgoingFetch(signed.url.toString(), {
      method,
      headers: [...signed.headers],
      body,
      // The environment names the endpoint.
      privateHosts: 'all',
      maxBytes: maxObjectBytes,
      maxMs: maxTransferMs,
      maxSilentMs,
    })
    const { status, headers: found, ok } = answer
    const told = { status, headers: found, isRepeated, bytes: answer.chunks }
    if (ok) {
      if (method !== 'GET' && method !== 'POST') await boundedText(answer.chunks(), maxErrorBytes)
      return told
    }
    const text = await boundedText(answer.chunks(), maxErrorBytes)
    return { ...told, error: knownCodeIn(text) ?? `status ${status}` }
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
    if (error === 'NoSuchBucket') throw unavailable(`has no bucket ${bucket}: create it, or correct its name`)
    if ((status >= 200 && status < 300) || expected.includes(status)) return answer
    const failure = error ?? `status ${status}`
    if (status >= 500 && status !== 501) throw later(`answered ${failure}`)
    if (status === 408 || status === 429 || laterCodes.includes(failure)) throw later(`answered ${failure}`)
    throw unavailable(
      `refused ${request.method} ${request.path || bucket}: ${failure}${hintOf(answer, region)}`,
    )
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

type S3Requests = ReturnType<typeof createS3Requests>

/** An error after which the request is retried. */
const later = (message: string): Error => Object.assign(new Error(message), { isLater: true })

const isLater = (error: unknown): boolean => (error as { isLater?: boolean }).isLater === true

function hintOf({ status, headers, error }: S3Response, region: string): string {
  const actual = headers.get('x-amz-bucket-region') ?? region
  if (/^[a-z0-9-]{1,40}$/.test(actual) && actual !== region)
    return ` (the bucket is in ${actual}: set AWS_REGION)`
  if (status === 301 || status === 307) return ' (another endpoint: set AWS_REGION or TENURE_S3_ENDPOINT)'
  if (status === 501) return ' (this store lacks conditional writes, which are required)'
  if (error === 'RequestTimeTooSkewed') return ' (set the clock of this machine)'
  return ''
}

/** Node reports every connection failure as "fetch failed", with the reason in the cause. */
function causeOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: Error & { code?: string } }
  return (cause?.code ?? cause?.message ?? message) || 'no reason is given'
}

/** An error of a local file has a system call and no address. */
const isLocal = (error: unknown): boolean => {
  const { syscall, path } = error as { syscall?: string; path?: string }
  return syscall !== undefined && (path !== undefined || syscall === 'write' || syscall === 'fsync')
}

// Reads the few elements that are used from S3's documents. These have no attributes and no nested elements of the same name.

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

const unescaped = (text: string): string =>
  text.replaceAll(
    /&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi,
    (whole, hex?: string, decimal?: string, name?: string) => {
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16))
      if (decimal !== undefined) return String.fromCodePoint(Number(decimal))
      return entities[name ?? ''] ?? whole
    },
  )

/** The text of the first element with a name. */
function elementText(document: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(document)?.[1]
  return found === undefined ? undefined : unescaped(found)
}

/** The content of each element with a name. */
const elementsOf = (document: string, name: string): string[] =>
  [...document.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, 'gs'))].map(([, content]) => content ?? '')
