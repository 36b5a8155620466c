/**
 * Downloads the files of a source that lie elsewhere: objects of S3 and files of web servers. They are then read, checked and digested like
 * files of the project, by a process that has no key of the object store.
 */
import { open, rm } from 'node:fs/promises'
import { extname } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../domain/errors.ts'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { isRemoteFile, parseS3Address } from '../../domain/validation/source-address.ts'
import { openS3Store } from '../../store/objects/s3/s3-store.ts'
import { isFull } from '../../store/outage.ts'
import type { Deps } from '../deps.ts'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'

/** Address → path of its copy. */
export type SourceCopies = Record<string, string>

type Place = Pick<Deps, 'artifacts'> & { config: Pick<Deps['config'], 's3'> }

const attempts = 4
const firstPauseMs = 250
/** How long no byte may arrive. */
const silentMs = 20_000

/**
 * Does `work` with copies of the remote files, and removes them. Messages name the address in place of the copy. Throws `source_unreadable` for
 * a file that is absent or refused, and `object_store_unavailable` while its server does not answer.
 */
export async function withSourceCopies<T>(
  place: Place,
  { files }: Pick<SourceDefinition, 'files'>,
  work: (copies: SourceCopies) => Promise<T>,
): Promise<T> {
  const copies: SourceCopies = {}
  try {
    for (const address of new Set(Object.values(files).filter(isRemoteFile))) {
      const path = await place.artifacts.draft(extname(new URL(address).pathname).slice(0, 20))
      copies[address] = path
      await (address.startsWith('s3:') ? downloadObject(place, address, path) : downloadFile(address, path))
    }
    return await work(copies)
  } catch (error) {
    throw namingAddresses(error, copies)
  } finally {
    for (const path of Object.values(copies)) await rm(path, { force: true })
  }
}

/** The source with the paths of its copies. */
export const withCopiedFiles = <S extends Pick<SourceDefinition, 'files'>>(
  source: S,
  copies: SourceCopies,
): S => ({
  ...source,
  files: Object.fromEntries(Object.entries(source.files).map(([name, file]) => [name, copies[file] ?? file])),
})

function namingAddresses(error: unknown, copies: SourceCopies): unknown {
  if (!isError(error)) return error
  let { message } = error
  for (const [address, path] of Object.entries(copies)) message = message.replaceAll(path, address)
  return message === error.message ? error : new DomainError(error.code, message, error.context)
}

const refused = (address: string, why: string): DomainError =>
  new DomainError('source_unreadable', `${address}: ${why}`)

async function downloadObject({ config }: Place, address: string, path: string): Promise<void> {
  const { bucket, key } = parseS3Address(address) ?? { bucket: '', key: '' }
  if (config.s3 === undefined)
    throw refused(address, 'the workers have no key for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  const found = await openS3Store({ ...config.s3, bucket, prefix: '' }).download(key, path)
  if (found === undefined)
    throw refused(address, 'there is no such object: put it there, or correct the address in the model file')
}

async function downloadFile(address: string, path: string): Promise<void> {
  for (let attempt = 1; ; attempt++)
    try {
      return await fetchInto(address, path)
    } catch (error) {
      if (isError(error) || isFull(error)) throw error
      const { message, cause } = error as Error
      const why = (cause as { code?: string } | undefined)?.code ?? message
      if (attempt >= attempts)
        throw new DomainError('object_store_unavailable', `${address} does not answer: ${why}`)
      await pause(firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2))
    }
}

async function fetchInto(address: string, path: string): Promise<void> {
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(new Error(`no byte for ${silentMs} ms`)), silentMs)
  try {
    const response = await outgoingFetch(address, { signal: silence.signal })
    const { status } = response
    if (status >= 500 || status === 408 || status === 429) throw new Error(`status ${status}`)
    if (status !== 200) {
      throw refused(
        address,
        `the server answers with status ${status}: correct the address in the model file, or let the workers read it`,
      )
    }
    const file = await open(path, 'w', 0o600)
    try {
      for await (const chunk of response.body ?? []) {
        timer.refresh()
        await file.write(chunk as Uint8Array)
      }
    } finally {
      await file.close()
    }
  } finally {
    clearTimeout(timer)
  }
}
