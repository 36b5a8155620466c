/**
 * Defines a store of named objects: a directory, or a bucket of S3. Artifacts, snapshots, checkpoints and backups lie in it, so that every
 * machine of the installation reads the same bytes.
 */
import { DomainError } from '../../domain/errors.ts'

/** What is written: bytes in memory, or a file. */
export type ObjectBody = Uint8Array | { path: string }

export interface ObjectFacts {
  key: string
  bytes: number
  /** When it was last written, by the clock of the store. */
  writtenMs: number
}

/** The bytes that were written to a file, and their SHA-256. */
export interface DownloadedObject {
  bytes: number
  digest: string
}

/**
 * Keys are relative paths with `/`. Every function throws `object_store_unavailable`, naming the store and the cause, when the store does
 * not answer or refuses.
 */
export interface ObjectStore {
  /** For messages: `s3://bucket/prefix`, or the directory. */
  address: string
  /** Writes an object as a whole or not at all. With `ifAbsent` an existing object stays. Returns whether it was written. */
  put(key: string, body: ObjectBody, options?: { ifAbsent?: boolean }): Promise<boolean>
  /** Undefined for an object that is absent. Throws `artifact_corrupt` for one with more bytes than `maxBytes`. */
  get(key: string, maxBytes?: number): Promise<Buffer | undefined>
  /** Writes an object to a new file. Undefined for an object that is absent. */
  download(key: string, path: string): Promise<DownloadedObject | undefined>
  find(key: string): Promise<ObjectFacts | undefined>
  /** The objects whose keys begin with a text, in the order of their keys. */
  list(prefix: string): AsyncIterable<ObjectFacts>
  /** Removes an object, also one that is absent. */
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
  /** Of every key, without a slash at its end; empty for none. */
  prefix: string
  /** Without a path. */
  endpoint: string
  region: string
  /** Whether the bucket is a part of the path; otherwise of the host. */
  pathStyle: boolean
  /** Read for every request, because a credential of a file changes. */
  credentials: () => S3Credentials
}

export type ObjectStoreSettings = { kind: 'directory'; directory: string } | S3Settings

/** Guards against a key from outside that leads to another place. */
export function requireKey(key: string): string {
  if (key.split('/').some((part) => /^\.{0,2}$/.test(part)) || key.length > 900 || hasControls(key))
    throw new DomainError('invalid_request', `${JSON.stringify(key)} is no key of an object`)
  return key
}

// eslint-disable-next-line no-control-regex
const hasControls = (text: string): boolean => /[\u0000-\u001f\u007f\\]/.test(text)

export const storeUnavailable = (address: string, why: string): DomainError =>
  new DomainError('object_store_unavailable', `the object store ${address} ${why}`, { store: address })

export function objectTooLarge(name: string, bytes: number, maxBytes: number): never {
  throw new DomainError('artifact_corrupt', `${name} has ${bytes} bytes, more than ${maxBytes}`)
}
