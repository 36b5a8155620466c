/** `fetch` for calls to an API of Tenure, which may use a private certificate authority and may require a client certificate. */
import { X509Certificate } from 'node:crypto'
import { statSync } from 'node:fs'
import * as tls from 'node:tls'
import { DomainError } from '../../domain/errors.ts'
import { readAuthority, readPair, readPem } from './certificate.ts'
import type { TrustSettings } from './settings.ts'

/** The options of the global `fetch`. */
export type ApiFetch = (url: string | URL, options?: RequestInit) => Promise<Response>

/** The global `fetch` when no files are configured. The files are read at the first HTTPS call, and again when they change. */
export function createApiFetch(trust: TrustSettings = {}): ApiFetch {
  const files = Object.values(trust).filter((file) => file !== undefined)
  let known: { stamp: string; calls: Promise<ApiFetch> } | undefined
  return async (url, options) => {
    if (files.length === 0 || new URL(url).protocol !== 'https:') return fetch(url, options)
    const stamp = files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs).join(' ')
    if (known?.stamp !== stamp) known = { stamp, calls: secureFetch(trust) }
    return (await known.calls)(url, options)
  }
}

async function secureFetch({ ca, own, cert, key }: TrustSettings): Promise<ApiFetch> {
  const undici = await import('../undici.ts')
  const served = own === undefined ? undefined : certificateIn(own)
  const shownPair =
    cert === undefined || key === undefined
      ? undefined
      : readPair({ variable: 'TENURE_CLIENT_CERT', file: cert }, { variable: 'TENURE_CLIENT_KEY', file: key })
  const dispatcher = new undici.Agent({
    connect: {
      ca: [
        ...authorities(),
        ...(ca === undefined ? [] : [readAuthority({ variable: 'TENURE_TLS_CA', file: ca })]),
        ...(served === undefined ? [] : [served.toString()]),
      ],
      // The certificate of this machine is trusted although its authority is unknown here.
      allowPartialTrustChain: true,
      cert: shownPair?.cert,
      key: shownPair?.key,
      checkServerIdentity: (name: string, shown: tls.PeerCertificate) =>
        shown.raw !== undefined && served?.raw.equals(shown.raw)
          ? undefined
          : tls.checkServerIdentity(name, shown),
    },
  })
  return async (url, { body, ...options } = {}) => {
    const sent = body instanceof FormData ? copyForm(new undici.UndiciFormData(), body) : body
    const asked = { ...options, body: sent, dispatcher } as Parameters<typeof undici.undiciFetch>[1]
    return (await undici.undiciFetch(url, asked)) as unknown as Response
  }
}

/** The authorities of Node, including NODE_EXTRA_CA_CERTS when Node reports them. */
function authorities(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (kind: 'default') => string[] }
  return getCACertificates?.('default') ?? tls.rootCertificates
}

/** undici recognises only its own FormData. */
function copyForm<To extends { append(name: string, value: unknown, fileName?: string): void }>(
  to: To,
  from: FormData,
): To {
  for (const [name, value] of from)
    if (typeof value === 'string') to.append(name, value)
    else to.append(name, value, value.name)
  return to
}

function certificateIn(file: string): X509Certificate {
  const bytes = readPem({ variable: 'TENURE_TLS_CERT', file })
  try {
    return new X509Certificate(bytes)
  } catch {
    throw new DomainError(
      'configuration_invalid',
      `TENURE_TLS_CERT: ${file}, by which this machine knows its API, is not a certificate: put the right file there; the API keeps using the one before`,
    )
  }
}
