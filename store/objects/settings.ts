/** Reads the settings of the object store from a given environment. */
import { isAbsolute, resolve } from 'node:path'
import { readSecret } from '../secret-files.ts'
import { parseS3Address } from '../../domain/addresses/source-address.ts'
import type { ObjectStoreSettings, S3Credentials, S3Settings } from './object-store.ts'

type Environment = Record<string, string | undefined>

/** Variable → field of the credentials. Each may also be given as the file `<variable>_FILE`. */
const credentialNames = {
  accessKeyId: 'AWS_ACCESS_KEY_ID',
  secretAccessKey: 'AWS_SECRET_ACCESS_KEY',
  sessionToken: 'AWS_SESSION_TOKEN',
} as const

/** The S3 endpoint and its credentials. An address gives `bucket` and `prefix`. */
export type S3Access = Omit<S3Settings, 'bucket' | 'prefix'>

/**
 * The store of TENURE_OBJECT_STORE, absent when it is not set, and the S3 access of sources, absent without credentials. Collects issues,
 * each beginning with the name of its variable.
 */
export function readObjectStore(
  environment: Environment,
  issues: string[],
): { objectStore?: ObjectStoreSettings; s3?: S3Access } {
  const given = (name: string): string | undefined => environment[name]?.trim() || undefined
  const address = given('TENURE_OBJECT_STORE')
  const s3 = readAccess(given, issues)
  if (address === undefined) return { s3 }
  if (!address.includes('://')) return { s3, objectStore: { kind: 'directory', directory: resolve(address) } }
  const place = parseS3Address(address)
  if (place === undefined)
    issues.push(`TENURE_OBJECT_STORE is a directory or s3://bucket/prefix, not "${address}"`)
  if (place === undefined) return { s3 }
  if (s3 !== undefined) return { s3, objectStore: { ...s3, bucket: place.bucket, prefix: place.key } }
  const missing = [credentialNames.accessKeyId, credentialNames.secretAccessKey].filter(
    (name) => given(name) === undefined && given(`${name}_FILE`) === undefined,
  )
  for (const name of missing)
    issues.push(`${name} is missing: TENURE_OBJECT_STORE needs it, or ${name}_FILE with the path of a file`)
  return {}
}

/** The settings of scheduled backups. */
export interface BackupSettings {
  /** A directory, or s3://bucket/prefix. */
  to: string
  everyMs: number
  /** The number of verified backups to keep. */
  keep: number
}

/** The scheduled backups, absent without TENURE_BACKUP_TO, and the S3 access of all backups. */
export function readBackups(
  environment: Environment,
  issues: string[],
): { s3?: S3Access; backups?: BackupSettings } {
  const given = (name: string): string | undefined => environment[name]?.trim() || undefined
  const whole = (name: string, fallback: number, max: number): number => {
    const value = Number(given(name) ?? fallback)
    if (!Number.isInteger(value) || value < 1 || value > max)
      issues.push(`${name} is a whole number from 1 to ${max}, not "${given(name)}"`)
    return value
  }
  const to = given('TENURE_BACKUP_TO')
  const everyMs = whole('TENURE_BACKUP_HOURS', 24, 744) * 3_600_000
  const keep = whole('TENURE_BACKUP_KEEP', 7, 1_000)
  const s3 = readAccess(given, issues)
  if (to === undefined) return { s3 }
  if (to.includes('://') ? parseS3Address(to) === undefined : !isAbsolute(to))
    issues.push(`TENURE_BACKUP_TO is the absolute path of a directory or s3://bucket/prefix, not "${to}"`)
  else if (to.endsWith('.tar')) issues.push('TENURE_BACKUP_TO names a place of many backups, not one file')
  else if (to.includes('://') && s3 === undefined)
    issues.push('TENURE_BACKUP_TO needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or both as _FILE')
  return { s3, backups: { to, everyMs, keep } }
}

function readAccess(given: (name: string) => string | undefined, issues: string[]): S3Access | undefined {
  const region = given('AWS_REGION') ?? 'us-east-1'
  const own = given('TENURE_S3_ENDPOINT')
  const addressing = given('TENURE_S3_ADDRESSING') ?? (own === undefined ? 'host' : 'path')
  if (!/^[a-z0-9-]{1,40}$/.test(region))
    issues.push(`AWS_REGION is a region such as eu-west-1, not "${region}"`)
  if (own !== undefined && !(/^https?:\/\//.test(own) && URL.canParse(own) && new URL(own).pathname === '/'))
    issues.push(`TENURE_S3_ENDPOINT is an http:// or https:// address without a path, not "${own}"`)
  if (!['host', 'path'].includes(addressing))
    issues.push(`TENURE_S3_ADDRESSING is one of host, path, not "${addressing}"`)
  const sources = Object.entries(credentialNames).map(([field, name]) => {
    const file = given(`${name}_FILE`)
    if (file !== undefined && given(name) !== undefined)
      issues.push(`${name} and ${name}_FILE are both set: keep one of them`)
    else if (file !== undefined && readSecret(file) === undefined)
      issues.push(`${name}_FILE is a file that can be read and is not empty, not "${file}"`)
    return { field, value: given(name), file }
  })
  const isGiven = (at: number) => sources[at]?.value !== undefined || sources[at]?.file !== undefined
  if (!isGiven(0) || !isGiven(1)) return undefined
  return {
    kind: 's3',
    endpoint: own === undefined ? `https://s3.${region}.amazonaws.com` : new URL(own).origin,
    region,
    pathStyle: addressing === 'path',
    // Read for every request, because a file of credentials is replaced before they expire.
    credentials: () =>
      Object.fromEntries(
        sources.map(({ field, value, file }) => [field, value ?? (file && readSecret(file))]),
      ) as unknown as S3Credentials,
  }
}
