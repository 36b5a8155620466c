/** Reads the TLS settings from a given environment. */
import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** PEM files with which a replica serves HTTPS. */
export interface TlsSettings {
  /** The certificate with its intermediate authorities. */
  cert: string
  key: string
  /** The certificate authorities of callers, who then need a certificate. */
  clientCa?: string
}

/** PEM files with which a process of this machine calls the API. */
export interface TrustSettings {
  /** Authorities that are trusted in addition to those of Node. */
  ca?: string
  /** The certificate of local replicas, trusted under any name. */
  own?: string
  /** The certificate that the caller presents. */
  cert?: string
  key?: string
}

/** Collects issues. Undefined when the API serves plain HTTP. */
export function readTls(environment: Environment, issues: string[]): TlsSettings | undefined {
  const { cert, key } = readPair(environment, ['TENURE_TLS_CERT', 'TENURE_TLS_KEY'], issues)
  const clientCa = fileAt(environment, 'TENURE_TLS_CLIENT_CA')
  if (clientCa !== undefined && cert === undefined)
    issues.push('TENURE_TLS_CLIENT_CA needs TENURE_TLS_CERT and TENURE_TLS_KEY')
  return cert === undefined || key === undefined ? undefined : { cert, key, clientCa }
}

export function readTrust(environment: Environment, issues: string[]): TrustSettings {
  return {
    ca: fileAt(environment, 'TENURE_TLS_CA'),
    own: fileAt(environment, 'TENURE_TLS_CERT'),
    ...readPair(environment, ['TENURE_CLIENT_CERT', 'TENURE_CLIENT_KEY'], issues),
  }
}

function readPair(
  environment: Environment,
  [certName, keyName]: readonly [string, string],
  issues: string[],
): { cert?: string; key?: string } {
  const [cert, key] = [fileAt(environment, certName), fileAt(environment, keyName)]
  if (cert !== undefined && key === undefined) issues.push(`${keyName} is missing: ${certName} needs its key`)
  if (key !== undefined && cert === undefined)
    issues.push(`${certName} is missing: ${keyName} needs its certificate`)
  return { cert, key }
}

const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']

/** The issues of a Postgres URL, and of the TLS files that it names. The driver would fail only at the first query. */
export function issuesOfPostgresUrl(name: string, url: string | undefined): string[] {
  if (url === undefined || url === '') return []
  if (!/^postgres(ql)?:\/\//.test(url)) return [`${name} is a postgres:// address`]
  if (!URL.canParse(url)) return []
  const { searchParams } = new URL(url)
  const issues = ['sslrootcert', 'sslcert', 'sslkey'].flatMap((file) => {
    const path = searchParams.get(file)
    return path === null || isReadable(path)
      ? []
      : [`${name}: ${file} is a file that can be read, not "${path}"`]
  })
  const mode = searchParams.get('sslmode')
  if (mode !== null && !sslModes.includes(mode))
    issues.push(`${name}: sslmode is one of ${sslModes.join(', ')}, not "${mode}"`)
  return issues
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

const fileAt = (environment: Environment, name: string): string | undefined => {
  const file = environment[name]?.trim()
  return file ? resolve(file) : undefined
}
