/** Reads the settings of the Temporal connection and its payload keys from a given environment. */
import { loadClientConnectConfig } from '@temporalio/envconfig'

export interface PayloadKey {
  id: string
  /** 32 bytes. */
  secret: Buffer
}

export interface TemporalSettings {
  address: string
  namespace: string
  apiKey?: string
  tls?: unknown
  /** Newest first; the newest key encrypts. Empty for unencrypted payloads. */
  payloadKeys?: PayloadKey[]
}

/** Reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_* and profiles, as every Temporal client does. */
export function readTemporal(
  environment: Readonly<Record<string, string | undefined>>,
  issues: string[],
): TemporalSettings {
  const payloadKeys = parsePayloadKeys(environment['TENURE_PAYLOAD_KEYS'], issues)
  try {
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
      overrideEnvVars: environment as Record<string, string>,
    })
    const { address = '127.0.0.1:7233', apiKey, tls } = connectionOptions
    return { address, namespace, apiKey: apiKey === undefined ? undefined : String(apiKey), tls, payloadKeys }
  } catch (error) {
    issues.push(`TEMPORAL_*: ${error instanceof Error ? error.message : String(error)}`)
    return { address: '', namespace: '', payloadKeys }
  }
}

/** Parses `id:base64` entries, separated by commas or lines; the first is the newest. Collects issues. */
function parsePayloadKeys(text: string | undefined, issues: string[]): PayloadKey[] {
  const entries = (text ?? '').split(/[\s,]+/).filter((entry) => entry !== '')
  const keys = entries.map((entry) => {
    const [, id = '', secret = ''] = /^([\w.-]{1,40}):(.*)$/.exec(entry) ?? []
    return { id, secret: Buffer.from(secret, 'base64') }
  })
  const isUnique = new Set(keys.map(({ id }) => id)).size === keys.length
  if (!isUnique || keys.some(({ id, secret }) => id === '' || secret.byteLength !== 32))
    issues.push(
      'TENURE_PAYLOAD_KEYS is a list such as 2026-11:<base64 of 32 bytes>,2026-05:<base64 of 32 bytes>, each with an id of its own',
    )
  return keys
}
