/**
 * Brings the files of a source that lie elsewhere: S3 objects, files of web servers, and those that a program writes. A process without a
 * key of the object store then reads, checks and digests the copies like files of the project.
 */
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname, extname, join, matchesGlob } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../domain/errors.ts'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import {
  isPattern,
  isRemoteFile,
  parseS3Address,
  splitPattern,
} from '../../domain/addresses/source-address.ts'
import { openS3Store } from '../../store/objects/s3/s3-store.ts'
import { isFull } from '../../store/outage.ts'
import type { Deps } from '../deps.ts'
import { outgoingFetch } from '../../store/outgoing-fetch.ts'
import { tooManyFiles } from './matching-files.ts'
import { maxSourceFiles } from './source-files.ts'

/** Address → path of its copy. For a pattern, the same pattern below the folder of the copies. */
export type SourceCopies = Record<string, string>

type Place = Pick<Deps, 'artifacts'> & {
  config: Pick<Deps['config'], 's3' | 'privateHosts' | 'sourceFileMb'>
}

export interface CopiedSource {
  source: Pick<SourceDefinition, 'files' | 'program'>
  /** Runs the program of the source, which writes Parquet files into `folder/output`. */
  writeRows: (folder: string) => Promise<void>
}

const attempts = 4
const firstPauseMs = 250
/** A download fails after this time without a byte. */
const maxSilentMs = 20_000
/** The slowest download of a file of the maximum size, in bytes per second. */
const slowestBytes = 262_144

/**
 * Runs `work` with copies of the remote files and removes them afterwards. Messages name the address instead of the copy. Throws
 * `source_unreadable` for a missing or forbidden file, `address_not_allowed` for a private address, `answer_too_large`, and
 * `object_store_unavailable` while the server does not respond.
 */
export async function withSourceCopies<T>(
  place: Place,
  { source: { files, program }, writeRows }: CopiedSource,
  work: (copies: SourceCopies) => Promise<T>,
): Promise<T> {
  const copies: SourceCopies = {}
  /** Paths to remove, with the address that replaces each in messages. */
  const drafts: [path: string, address: string][] = []
  try {
    for (const address of new Set(Object.values(files).filter(isRemoteFile))) {
      const path = await place.artifacts.draft(extname(new URL(address).pathname).slice(0, 20))
      if (isPattern(address)) {
        const { folder, rest } = splitPattern(address)
        drafts.push([path, folder])
        copies[address] = `${path}/${rest}`
        await downloadMatching(place, address, path)
      } else {
        drafts.push([path, address])
        copies[address] = path
        await (address.startsWith('s3:')
          ? downloadObject(place, address, path)
          : downloadFile(place, address, path))
      }
    }
    if (program === undefined) return await work(copies)
    const folder = await place.artifacts.draft('')
    const [address = ''] = Object.values(files)
    drafts.push([`${folder}/output`, address], [folder, address])
    copies[address] = `${folder}/output/*.parquet`
    await writeRows(folder)
    return await work(copies)
  } catch (error) {
    throw namingAddresses(error, drafts)
  } finally {
    for (const [path] of drafts) await rm(path, { force: true, recursive: true })
  }
}

/** Replaces the remote files of a source by the paths of their copies. */
export const withCopiedFiles = <S extends Pick<SourceDefinition, 'files'>>(
  source: S,
  copies: SourceCopies,
): S => ({
  ...source,
  files: Object.fromEntries(Object.entries(source.files).map(([name, file]) => [name, copies[file] ?? file])),
})

function namingAddresses(error: unknown, drafts: readonly [path: string, address: string][]): unknown {
  if (!isError(error)) return error
  let { message } = error
  for (const [path, address] of drafts) message = message.replaceAll(path, address)
  return message === error.message ? error : new DomainError(error.code, message, error.context)
}

const refused = (address: string, why: string): DomainError =>
  new DomainError('source_unreadable', `${address}: ${why}`)

/** Opens the bucket of an S3 address and splits off the object key. Throws `source_unreadable` without S3 credentials. */
function openBucket({ config }: Place, address: string) {
  const { bucket, key } = parseS3Address(address) ?? { bucket: '', key: '' }
  if (config.s3 === undefined)
    throw refused(address, 'the workers have no key for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  return { objects: openS3Store({ ...config.s3, bucket, prefix: '' }), key }
}

/** Downloads the objects that match a pattern, each to the same relative path below `folder`. */
async function downloadMatching(place: Place, address: string, folder: string): Promise<void> {
  const { objects, key: pattern } = openBucket(place, address)
  const { folder: prefix, rest } = splitPattern(pattern)
  const start = prefix === '' ? '' : `${prefix}/`
  const found: string[] = []
  for await (const { key } of objects.list(start)) {
    const below = key.slice(start.length)
    // Path segments of a key are untrusted; `..` and empty ones would lead out of the folder.
    const isPath = below.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
    if (isPath && matchesGlob(below, rest)) found.push(below)
  }
  if (found.length > maxSourceFiles) throw tooManyFiles(address, found.length, maxSourceFiles)
  await mkdir(folder, { recursive: true })
  for (const below of found) {
    await mkdir(dirname(join(folder, below)), { recursive: true })
    await objects.download(start + below, join(folder, below))
  }
}

async function downloadObject(place: Place, address: string, path: string): Promise<void> {
  const { objects, key } = openBucket(place, address)
  const found = await objects.download(key, path)
  if (found === undefined)
    throw refused(address, 'there is no such object: put it there, or correct the address in the model file')
}

async function downloadFile(place: Place, address: string, path: string): Promise<void> {
  for (let attempt = 1; ; attempt++)
    try {
      return await fetchInto(place, address, path)
    } catch (error) {
      if (isError(error) || isFull(error)) throw error
      const { message, cause } = error as Error
      const why = (cause as { code?: string } | undefined)?.code ?? message
      if (attempt >= attempts)
        throw new DomainError('object_store_unavailable', `${address} does not answer: ${why}`)
      await pause(firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2))
    }
}

async function fetchInto({ config }: Place, address: string, path: string): Promise<void> {
  const maxBytes = config.sourceFileMb * 1_048_576
  const answer = await outgoingFetch(address, {
    privateHosts: config.privateHosts,
    maxBytes,
    maxMs: maxSilentMs + (maxBytes / slowestBytes) * 1_000,
    maxSilentMs,
  })
  const { status } = answer
  if (status !== 200) await answer.discard()
  if (status >= 500 || status === 408 || status === 429) throw new Error(`status ${status}`)
  if (status >= 300 && status < 400)
    throw refused(
      address,
      `the server names another address (status ${status}), which is not followed: write the final address into the model file`,
    )
  if (status !== 200)
    throw refused(
      address,
      `the server answers with status ${status}: correct the address in the model file, or let the workers read it`,
    )
  const file = await open(path, 'w', 0o600)
  try {
    for await (const chunk of answer.chunks()) await file.write(chunk)
  } finally {
    await file.close()
  }
}
