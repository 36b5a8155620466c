/**
 * Stores objects in an S3 bucket, or on a server with the same protocol. Large objects are uploaded in parts and appear when the last
 * part has arrived.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import {
  requireKey,
  objectTooLarge,
  type ObjectBody,
  type ObjectFacts,
  type ObjectStore,
  type S3Settings,
} from '../object-store.ts'
import { createS3Requests, type RequestLimits, type S3Requests, type S3Response } from './requests.ts'
import { digestOfChunks } from '../slices.ts'
import { elementsOf, elementText } from './xml.ts'

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
      const { code, message } = answer.error ?? (await errorIn(answer))
      if (code !== undefined) throw requests.unavailable(`completed no upload: ${code}: ${message}`)
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
async function errorIn(answer: S3Response): Promise<{ code?: string; message?: string }> {
  const text = await textIn(answer)
  return text.includes('<Error>')
    ? { code: elementText(text, 'Code') ?? 'an error', message: elementText(text, 'Message') }
    : {}
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
  const parts: Uint8Array[] = []
  for await (const chunk of answer.bytes()) parts.push(chunk)
  return Buffer.concat(parts).toString('utf8')
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
