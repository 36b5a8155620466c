/** Chooses the ports of the processes. If a port is in use, another one is chosen and reported; two processes that want one port are refused. */
import { DomainError } from '../../domain/errors.ts'
import type { CommandConfig } from '../../temporal.config.ts'
import { requireFreePort, freePort } from '../embedded/process.ts'

export interface WantedPort {
  /** The process that listens there, for the message. */
  what: string
  /** 0 means any free port. */
  port: number
  /** The variable that sets it. */
  variable: string
}

export interface WantedPorts {
  /** Absent where they run elsewhere or are off. */
  servers: { postgres?: WantedPort; temporal?: WantedPort; temporalUi?: WantedPort }
  /** The port that the replicas share. */
  shared: WantedPort
  /** Of single replicas, known to those who scrape them: the ports after the shared one. Empty for one replica, and for any port. */
  replicas: WantedPort[]
}

/** What `tenure up` would listen on. Throws `configuration_invalid` when two of them want one port. */
export function wantedPorts(
  {
    ports,
    databaseUrl,
    temporalAddress,
    temporalUi,
  }: Pick<CommandConfig, 'ports' | 'databaseUrl' | 'temporalAddress' | 'temporalUi'>,
  replicas: number,
): WantedPorts {
  const variable = 'TENURE_PORT'
  const hasTemporal = temporalAddress === undefined
  const wanted: WantedPorts = {
    servers: {
      ...(databaseUrl === undefined && {
        postgres: { what: 'Postgres', port: ports.postgres, variable: 'TENURE_POSTGRES_PORT' },
      }),
      ...(hasTemporal && {
        temporal: { what: 'Temporal', port: ports.temporal, variable: 'TENURE_TEMPORAL_PORT' },
      }),
      ...(hasTemporal &&
        temporalUi && {
          temporalUi: {
            what: "Temporal's pages",
            port: ports.temporalUi,
            variable: 'TENURE_TEMPORAL_UI_PORT',
          },
        }),
    },
    shared: { what: 'the API', port: ports.api, variable },
    replicas: Array.from({ length: replicas > 1 && ports.api !== 0 ? replicas : 0 }, (_, index) => ({
      what: `replica ${index + 1} of the API`,
      port: ports.api + index + 1,
      variable,
    })),
  }
  requireDistinct([wanted.shared, ...wanted.replicas, ...Object.values(wanted.servers)])
  return wanted
}

/** None of them listens yet, so that each port would be found free. */
function requireDistinct(wanted: readonly WantedPort[]): void {
  const first = new Map<number, WantedPort>()
  for (const each of wanted) {
    const other = first.get(each.port)
    if (other !== undefined && each.port !== 0)
      throw new DomainError(
        'configuration_invalid',
        `${other.what} (${other.variable}) and ${each.what} (${each.variable}) want the port ${each.port}: set one of the two variables to another port`,
        { port: each.port },
      )
    first.set(each.port, each)
  }
}

export async function choosePort(wanted: WantedPort, say: (line: string) => void): Promise<number> {
  if (wanted.port === 0) return freePort()
  try {
    await requireFreePort(wanted.port, wanted.what)
    return wanted.port
  } catch {
    const port = await freePort()
    say(
      `Port ${wanted.port} is in use; ${wanted.what} listens on ${port} (set ${wanted.variable} to change it)`,
    )
    return port
  }
}
