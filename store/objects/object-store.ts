/**
 * Defines a store of named objects: a directory, or an S3 bucket. It holds artifacts, snapshots, checkpoints and backups, so that every
 * machine of the installation reads the same bytes.
 */
import { DomainError } from '../../domain/errors.ts'

/** The content to write: bytes in memory, or a file. */
export type ObjectBody = Uint8Array | { path: string }

export interface ObjectFacts {
  key: string
  bytes: number
  /** The time of the last write, on the clock of the store. */
  writtenMs: number
}

/** The bytes that were written to a file, and their SHA-256. */
export interface DownloadedObject {
  bytes: number
  digest: string
}

/**
 * Keys are relative paths with `/`. Every function throws `object_store_unavailable`, naming the store and the cause, when the store does
 * not respond or refuses access.
 */
export interface ObjectStore {
  /** `s3://bucket/prefix`, or the directory; for messages. */
  address: string
  /** Writes an object completely or not at all. With `ifAbsent`, an existing object stays. Returns whether the object was written. */
  put(key: string, body: ObjectBody, options?: { ifAbsent?: boolean }): Promise<boolean>
  /** Returns undefined for a missing object. Throws `artifact_corrupt` for an object larger than `maxBytes`. */
  get(key: string, maxBytes?: number): Promise<Buffer | undefined>
  /** Downloads an object to a new file. Returns undefined for a missing object. */
  download(key: string, path: string): Promise<DownloadedObject | undefined>
  find(key: string): Promise<ObjectFacts | undefined>
  /** Lists the objects whose keys begin with `prefix`, ordered by key. */
  list(prefix: string): AsyncIterable<ObjectFacts>
  /** Removes an object; succeeds for a missing one. */
  remove(key: string): Promise<void>
}

export interface S3Credentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken?: string
}

export interface S3Settings {
  kind: 's3'
  bucket: string
  /** The prefix of every key, without a trailing slash; empty for none. */
  prefix: string
  /** URL without a path. */
  endpoint: string
  region: string
  /** Whether the bucket is in the path; otherwise it is in the host name. */
  pathStyle: boolean
  /** Called for every request, because credentials in a file change. */
  credentials: () => S3Credentials
}

export type ObjectStoreSettings = { kind: 'directory'; directory: string } | S3Settings

/** Throws for an external key that leads outside the store. */
export function requireKey(key: string): string {
  if (key.split('/').some((part) => /^\.{0,2}$/.test(part)) || key.length > 900 || hasControls(key))
    throw new DomainError('invalid_request', `${JSON.stringify(key)} is not the key of an object`)
  return key
}

// eslint-disable-next-line no-control-regex
const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f\\]/.test(text)

export const storeUnavailable = (address: string, why: string): DomainError =>
  new DomainError('object_store_unavailable', `the object store ${address} ${why}`, { store: address })

export function objectTooLarge(name: string, bytes: number, maxBytes: number): never {
  throw new DomainError('artifact_corrupt', `${name} has ${bytes} bytes, more than ${maxBytes}`)
}
