/** Reads the settings of the connection to Temporal from an environment that is passed in. */
import { loadClientConnectConfig } from '@temporalio/envconfig'

export interface TemporalSettings {
  address: string
  namespace: string
  apiKey?: string
  tls?: unknown
}

/** Reads TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS_* and profiles, as every Temporal client does. */
export function readTemporal(
  environment: Readonly<Record<string, string | undefined>>,
  issues: string[],
): TemporalSettings {
  try {
    const { connectionOptions, namespace = 'default' } = loadClientConnectConfig({
      overrideEnvVars: environment as Record<string, string>,
    })
    const { address = '127.0.0.1:7233', apiKey, tls } = connectionOptions
    return { address, namespace, apiKey: apiKey === undefined ? undefined : String(apiKey), tls }
  } catch (error) {
    issues.push(`TEMPORAL_*: ${error instanceof Error ? error.message : String(error)}`)
    return { address: '', namespace: '' }
  }
}
