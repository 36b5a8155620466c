/** Reads the settings of TLS from an environment that is passed in. */
import { resolve } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** Files in PEM with which a replica serves HTTPS. */
export interface TlsSettings {
  /** The certificate with its intermediate authorities. */
  cert: string
  key: string
  /** The authorities of callers, who then need a certificate. */
  clientCa?: string
}

/** Files in PEM with which a process of this machine calls the API. */
export interface TrustSettings {
  /** Authorities that are trusted beside those of Node. */
  ca?: string
  /** The certificate of replicas of this machine, trusted under any name. */
  own?: string
  /** What the caller shows. */
  cert?: string
  key?: string
}

/** Collects issues; undefined when the API speaks plain HTTP. */
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

const fileAt = (environment: Environment, name: string): string | undefined =>
  environment[name] ? resolve(environment[name]) : undefined
