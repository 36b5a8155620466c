/**
 * Reads and writes the signing key files: one private key per purpose, and the list of public keys that a machine trusts for it. Both are
 * written under another name and renamed, so that a process never reads a partial file.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  type KeyObject,
} from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { chmod, chown, link, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { takeLock } from '@tenure/embedded/install/lock'
import { absentFile } from '../absent-file.ts'

/**
 * - `artifacts`: versions and backups.
 * - `replicas`: sessions, the routes that replicas keep, and rollbacks that wait for Postgres.
 * - `heads`: heads of the audit log.
 * - `certificates`: certificates of releases.
 */
export type KeyPurpose = 'artifacts' | 'replicas' | 'heads' | 'certificates'
export const keyPurposes: readonly KeyPurpose[] = ['artifacts', 'replicas', 'heads', 'certificates']

/** The purposes for which each kind of process holds a private key; it refuses to open others. */
export const purposesOf = {
  api: ['replicas', 'certificates'],
  control: ['artifacts', 'heads'],
  train: ['artifacts'],
} as const satisfies Record<string, readonly KeyPurpose[]>

export interface KeyPlaces {
  /** The directory of the private keys of this machine: `<purpose>/private.pem`. */
  keys: string
  /** The directory of the public keys of all machines: `<purpose>/trusted.json`. */
  trust: string
  /** What this process signs. Default: everything, for commands of an operator. */
  purposes?: readonly KeyPurpose[]
}

export interface TrustedKey {
  publicPem: string
  /** ISO 8601; absent for a key in use. */
  until?: string
}

export const privateFile = ({ keys }: KeyPlaces, purpose: KeyPurpose): string =>
  join(keys, purpose, 'private.pem')
/** A prepared key, which other machines already trust and no process signs with. */
export const nextFile = ({ keys }: KeyPlaces, purpose: KeyPurpose): string => join(keys, purpose, 'next.pem')
export const trustedFile = ({ trust }: KeyPlaces, purpose: KeyPurpose): string =>
  join(trust, purpose, 'trusted.json')

/** A file that is parsed again after each write; undefined while it is missing. */
export function reread<T>(file: string, parse: (text: string) => T) {
  let held: { value: T; mark: string } | undefined
  let lookedMs = -Infinity
  return {
    /** `ageMs`: how old the last check may be. */
    read(ageMs: number): T | undefined {
      const now = performance.now()
      if (now - lookedMs < ageMs && held !== undefined) return held.value
      const found = statSync(file, { throwIfNoEntry: false, bigint: true })
      const mark = `${found?.ino} ${found?.mtimeNs}`
      if (found === undefined) held = undefined
      else if (mark !== held?.mark) {
        const text = readKeyFile(file)
        held = text === undefined ? undefined : { value: parse(text), mark }
      }
      lookedMs = now
      return held?.value
    },
  }
}

/** Undefined for a missing file. Throws `configuration_invalid` for one that cannot be read. */
export function readKeyFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw unreadableKey(file, (error as Error).message)
  }
}

export const unreadableKey = (file: string, why: string): DomainError =>
  new DomainError('configuration_invalid', `the signing key ${file} cannot be read: ${why}`)

/** Throws `configuration_invalid` for a text without an Ed25519 key. */
export function parseKey(file: string, pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below.
  }
  throw new DomainError('configuration_invalid', `${file} holds no Ed25519 private key in PEM`)
}

export const publicPemOf = (privateKey: KeyObject): string =>
  createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString()

export async function makeKey(file: string): Promise<void> {
  const fresh = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
  await writeOnce(file, fresh.toString())
}

/** Writes a secret unless it exists. The link fails when the name is taken, so that the first of several processes wins. */
export async function writeOnce(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${randomUUID()}`
  await writeFile(draft, text, { mode: 0o600 })
  try {
    await link(draft, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
}

/** Throws `configuration_invalid`. */
export function parseTrusted(file: string, text: string): TrustedKey[] {
  try {
    const keys = JSON.parse(text) as TrustedKey[]
    if (keys.every(isTrustedKey)) return keys
  } catch {
    // Said below.
  }
  throw new DomainError('configuration_invalid', `${file} is not a list of Ed25519 public keys`)
}

/** Without this check, a key with an unreadable end would never expire. */
const isTrustedKey = ({ publicPem, until }: TrustedKey): boolean =>
  createPublicKey(publicPem).asymmetricKeyType === 'ed25519' &&
  (until === undefined || Number.isFinite(Date.parse(until)))

export function listTrusted(places: KeyPlaces, purpose: KeyPurpose): TrustedKey[] {
  const file = trustedFile(places, purpose)
  return parseTrusted(file, readKeyFile(file) ?? '[]')
}

/** Adds a key to the list unless it is there. */
export async function trustKey(places: KeyPlaces, purpose: KeyPurpose, key: TrustedKey): Promise<void> {
  const isKnown = (keys: TrustedKey[]) => keys.some(({ publicPem }) => publicPem === key.publicPem)
  if (isKnown(listTrusted(places, purpose))) return
  await changeTrusted(places, purpose, (keys) => (isKnown(keys) ? keys : [...keys, key]))
}

/** Changes the list. Concurrent processes each see the changes of the others. */
export async function changeTrusted(
  places: KeyPlaces,
  purpose: KeyPurpose,
  change: (keys: TrustedKey[]) => TrustedKey[],
): Promise<void> {
  const file = trustedFile(places, purpose)
  await mkdir(dirname(file), { recursive: true })
  const release = await takeLock(`${file}.lock`)
  const draft = `${file}.${randomUUID()}`
  try {
    const keys = change(listTrusted(places, purpose))
    await writeFile(draft, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o644 })
    await keepOwner(draft, file)
    await rename(draft, file)
  } finally {
    await rm(draft, { force: true })
    release()
  }
}

/** Gives a file the owner and mode of the file that it replaces, so that root may replace it and other users can still read it. */
export async function keepOwner(file: string, former: string): Promise<void> {
  const found = await stat(former).catch(absentFile)
  if (found === undefined) return
  if (process.getuid?.() === 0) await chown(file, found.uid, found.gid)
  await chmod(file, found.mode & 0o777)
}
