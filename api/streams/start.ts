/** Starts the streams where they are configured. */
import { hostname } from 'node:os'
import type { Config } from '../../temporal.config.ts'
import type { RunningStreams, StreamDeps } from './open.ts'

/** Starts the streams, and loads the broker's client only where it is configured. Each replica reads some partitions of every topic. */
export async function startStreams(
  {
    api,
    stateDir,
    publicUrl,
  }: Pick<Config, 'stateDir' | 'publicUrl'> & { api: Pick<Config['api'], 'streams' | 'slot'> },
  deps: StreamDeps,
  onError: (message: string, error: unknown) => void,
): Promise<RunningStreams | undefined> {
  if (api.streams === undefined) return undefined
  const { requireNewNode } = await import('./node-version.ts')
  requireNewNode(process.versions.node)
  const [{ readStreamSettings }, { openBroker, openStreams, memberName }] = await Promise.all([
    import('./settings.ts'),
    import('./open.ts'),
  ])
  const settings = await readStreamSettings(api.streams)
  const stream = await openBroker(settings)
  const member = memberName(hostname(), stateDir, api.slot)
  return openStreams(deps, { stream, settings }, { member, source: publicUrl ?? '/tenure', onError })
}
