/**
 * Starts a fleet in which every process reaches Postgres and Temporal through a separate link. Tests cut single links and count the
 * connections of each process.
 */
import { replicaName } from '../../../cli/supervisor/rolling-restart.ts'
import { openProxyLine, openLink, type Link } from './proxy.ts'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { openShow, type Show } from './fleet-fixture.ts'
import { withEnvironment } from '../servers/system-fixture.ts'

export interface NamedLink extends Link {
  /** The process name in the supervisor. */
  process: string
  to: 'postgres' | 'temporal'
}

export interface LinkedShow extends Show {
  links: NamedLink[]
  stop(): Promise<void>
}

export async function openLinkedShow(options: {
  replicas: number
  workers: number
  leaseMs: number
  policy: ReleasePolicy
}): Promise<LinkedShow> {
  const { replicas, workers, leaseMs, policy } = options
  const names = [
    ...Array.from({ length: replicas }, (_, index) => replicaName(index)),
    ...Array.from({ length: workers }, (_, index) => (index === 0 ? 'control' : `control-${index + 1}`)),
  ]
  const links: NamedLink[] = []
  const close = (): void => links.forEach((link) => link.close())
  try {
    const show = await openShow(
      {
        replicas,
        workers,
        leaseMs,
        async changes({ databaseUrl, temporalAddress }) {
          const [host = '', port] = temporalAddress.split(':')
          const environments = new Map<string, Record<string, string>>()
          for (const process of names) {
            const line = await openProxyLine(databaseUrl)
            const link = await openLink({ host, port: Number(port) })
            links.push({ ...line, process, to: 'postgres' }, { ...link, process, to: 'temporal' })
            environments.set(process, {
              DATABASE_URL: line.url,
              TEMPORAL_ADDRESS: `127.0.0.1:${link.port}`,
            })
          }
          return (spec) => withEnvironment(spec, environments.get(spec.name) ?? {})
        },
      },
      { policy },
    )
    return {
      ...show,
      links,
      async stop() {
        await show.system.stop()
        close()
      },
    }
  } catch (error) {
    close()
    throw error
  }
}
