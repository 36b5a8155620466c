/**
 * Chooses the ports of the processes. If a port is in use, chooses and reports another one. Refuses settings that give two processes the
 * same port.
 */
import { DomainError } from '../../domain/errors.ts'
import type { CommandConfig } from '../../temporal.config.ts'
import { freePort, requireFreePort } from '@tenure/embedded'

export interface WantedPort {
  /** Name of the process that listens there, for messages. */
  what: string
  /** The port; 0 means any free port. */
  port: number
  /** The environment variable that sets the port. */
  variable: string
}

export interface WantedPorts {
  /** Absent for servers that run elsewhere or are disabled. */
  servers: { postgres?: WantedPort; temporal?: WantedPort; temporalUi?: WantedPort }
  /** The port that the replicas share. */
  shared: WantedPort
  /** The own ports of the replicas, after the shared one, where metrics are scraped. Empty for one replica, and for port 0. */
  replicas: WantedPort[]
  /** The port of each replica for gRPC. Empty where gRPC is disabled, and for port 0. */
  grpc: WantedPort[]
}

/** Returns the ports on which `tenure up` would listen. Throws `configuration_invalid` if two of them are equal. */
export function wantedPorts(
  { ports, databaseUrl, temporalAddress }: Pick<CommandConfig, 'ports' | 'databaseUrl' | 'temporalAddress'>,
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
        ports.temporalUi !== undefined && {
          temporalUi: {
            what: "Temporal's pages",
            port: ports.temporalUi,
            variable: 'TENURE_TEMPORAL_UI_PORT',
          },
        }),
    },
    shared: { what: 'the API', port: ports.api, variable },
    replicas: portsFrom(replicas > 1 && ports.api !== 0 ? ports.api + 1 : 0, replicas).map((port, index) => ({
      what: `replica ${index + 1} of the API`,
      port,
      variable,
    })),
    grpc: portsFrom(ports.grpc ?? 0, replicas).map((port, index) => ({
      what: `gRPC of replica ${index + 1}`,
      port,
      variable: 'TENURE_GRPC_PORT',
    })),
  }
  requireDistinct([wanted.shared, ...wanted.replicas, ...Object.values(wanted.servers), ...wanted.grpc])
  return wanted
}

/** Returns a row of ports; none after port 0. */
const portsFrom = (first: number, count: number): number[] =>
  first === 0 ? [] : Array.from({ length: count }, (_, index) => first + index)

/** Compares the settings, because each port would be found free before any process listens. */
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
