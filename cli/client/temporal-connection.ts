import type { ConnectionOptions } from '@temporalio/client'
import type { Config } from '../../temporal.config.ts'

export function connectionOf({ address, apiKey, tls }: Config['temporal']): ConnectionOptions {
  return { address, apiKey, tls: tls as ConnectionOptions['tls'] }
}
