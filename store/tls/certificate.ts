/**
 * Reads the certificate of the API with its key, and reads them again when the files change, so that a renewed certificate is used without
 * a restart.
 */
import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { DomainError } from '../../domain/errors.ts'
import type { TlsSettings } from './settings.ts'

export interface ServerCertificate {
  cert: Buffer
  key: Buffer
  /** The certificate authorities of callers. */
  ca?: Buffer
  /** The expiry, in milliseconds since 1970. */
  endsMs: number
  /** The names and addresses of the certificate. */
  names: string
}

/** Throws `configuration_invalid` for files that are unreadable, do not belong together, or are not valid at this time. */
export function readCertificate(settings: TlsSettings, nowMs: number = Date.now()): ServerCertificate {
  const { cert, key, leaf } = readPair(
    { variable: 'TENURE_TLS_CERT', file: settings.cert },
    { variable: 'TENURE_TLS_KEY', file: settings.key },
  )
  const ca =
    settings.clientCa === undefined
      ? undefined
      : readAuthority({ variable: 'TENURE_TLS_CLIENT_CA', file: settings.clientCa })
  const [fromMs, endsMs] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]
  if (nowMs >= endsMs)
    throw invalid(`TENURE_TLS_CERT: the certificate in ${settings.cert} ended on ${dayOf(endsMs)}`)
  if (nowMs < fromMs)
    throw invalid(`TENURE_TLS_CERT: the certificate in ${settings.cert} begins on ${dayOf(fromMs)}`)
  try {
    createSecureContext({ cert, key, ca })
  } catch (error) {
    throw invalid(`TENURE_TLS_CERT: OpenSSL refuses ${settings.cert}: ${(error as Error).message}`)
  }
  return { cert, key, ca, endsMs, names: leaf.subjectAltName ?? leaf.subject }
}

/** A file in PEM, and the variable that names it. */
export interface NamedPem {
  variable: string
  file: string
}

/** Reads a certificate and its key. Throws `configuration_invalid` for files that are unreadable or do not belong together. */
export function readPair(certificate: NamedPem, privateKey: NamedPem) {
  const [cert, key] = [readPem(certificate), readPem(privateKey)]
  const leaf = parseCertificate(certificate, cert)
  if (!leaf.checkPrivateKey(parseKey(privateKey, key)))
    throw invalid(
      `${privateKey.variable}: the key in ${privateKey.file} does not belong to the first certificate in ${certificate.file}`,
    )
  return { cert, key, leaf }
}

/** Reads a file of authorities. Throws `configuration_invalid` for one without a certificate. */
export function readAuthority(named: NamedPem): Buffer {
  const pem = readPem(named)
  parseCertificate(named, pem)
  return pem
}

export interface CertificateWatch {
  /** The last certificate that was read without an error. */
  current(): ServerCertificate
  /** Calls back with each new certificate. */
  subscribe(use: (certificate: ServerCertificate) => void): void
  /** Reads the files now. */
  reload(): void
  stop(): void
}

export interface WatchOptions {
  everyMs?: number
  /** The previous certificate stays in use. */
  onError: (error: Error) => void
}

/**
 * Checks periodically instead of using file system events, because Kubernetes replaces a link in the parent directory. Throws like
 * `readCertificate`.
 */
export function watchCertificate(
  settings: TlsSettings,
  { everyMs = 5_000, onError }: WatchOptions,
): CertificateWatch {
  let stamp = stampOf(settings)
  let current = readCertificate(settings)
  const users: ((certificate: ServerCertificate) => void)[] = []
  const reload = (): void => {
    try {
      stamp = stampOf(settings)
      current = readCertificate(settings)
    } catch (error) {
      return onError(error as Error)
    }
    for (const use of users) use(current)
  }
  const timer = setInterval(() => {
    if (stampOf(settings) !== stamp) reload()
  }, everyMs).unref()
  return {
    current: () => current,
    subscribe: (use) => void users.push(use),
    reload,
    stop: () => clearInterval(timer),
  }
}

/** Changes when one of the files changes. */
function stampOf({ cert, key, clientCa }: TlsSettings): string {
  const stamps = [cert, key, clientCa ?? cert].map((file) => {
    const found = statSync(file, { throwIfNoEntry: false })
    return found === undefined ? 'absent' : `${found.ino}:${found.mtimeMs}:${found.size}`
  })
  return stamps.join(' ')
}

export function readPem({ variable, file }: NamedPem): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw invalid(`${variable}: ${file} cannot be read: ${(error as Error).message}`)
  }
}

/** The first certificate of a file. */
function parseCertificate({ variable, file }: NamedPem, pem: Buffer): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw invalid(`${variable}: ${file} does not hold a certificate in PEM`)
  }
}

function parseKey({ variable, file }: NamedPem, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch {
    throw invalid(`${variable}: ${file} does not hold a private key in PEM without a passphrase`)
  }
}

const invalid = (message: string): DomainError => new DomainError('configuration_invalid', message)
const dayOf = (ms: number): string => (Number.isNaN(ms) ? 'no date' : new Date(ms).toISOString().slice(0, 10))

// Recognises TLS failures, which Node and Postgres report by codes.

/** Whether a code of Node or OpenSSL means a rejected certificate. */
export const isUntrusted = (code: string): boolean =>
  /^(ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_)/.test(code)

/** Whether a code of Node or OpenSSL means a server that answers a TLS handshake in plain text. */
export const speaksPlain = (code: string): boolean =>
  code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'EPROTO'

/** Returns why TLS to a server of others failed, and what to do, by a code of Node or OpenSSL; undefined for other failures. */
export function tlsIssueOf(code: string): string | undefined {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is of another name (${code}): use a name in the certificate as the address`
  if (code === 'CERT_HAS_EXPIRED') return `its certificate has expired (${code}): renew it at the server`
  if (isUntrusted(code))
    return `its certificate is not trusted (${code}): set NODE_EXTRA_CA_CERTS to the file of its authority, and restart`
  if (speaksPlain(code)) return `it does not offer TLS (${code}): write http:// or grpc:// in its address`
  return undefined
}

/** Returns why TLS to Postgres failed, by the demands of the address or of the server; undefined for other failures. */
export function tlsIssueOfPostgres(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, reason } = error as { code?: unknown; reason?: unknown }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is made out to another name (${String(reason)}); connect by a name in the certificate`
  if (typeof code === 'string' && isUntrusted(code))
    return `its certificate is not trusted (${code}); set sslrootcert in the address to the file of the authority that has signed it`
  if (error.message.startsWith('The server does not support SSL connections'))
    return 'it does not offer TLS, which sslmode in the address demands; set ssl = on in postgresql.conf'
  if (code === '28000' && error.message.includes('no encryption'))
    return 'it refuses connections without TLS; add sslmode=verify-full and sslrootcert to the address'
  return undefined
}
