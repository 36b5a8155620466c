/**
 * Binds one port for several API processes and passes the socket to each, so that connections wait in a shared queue while a
 * replica restarts. SO_REUSEPORT (Node 23.1) would give each process its own queue, lost with the process.
 */
import * as net from 'node:net'
import { DomainError } from '../../domain/errors.ts'

/** A bound socket on which this process does not listen. */
export interface SharedPort {
  port: number
  /** Passed to `spawn` as an open file of the child. */
  handle: object
  close(): void
}

interface BoundHandle {
  getsockname(out: { port?: number }): number
  close(): void
}

/** The internal function with which `node:cluster` binds: Node has no public way to bind without listening. */
const { _createServerHandle: bind } = net as unknown as {
  _createServerHandle(host: string, port: number, family: 4 | 6): BoundHandle | number
}

/** Throws `configuration_invalid` if the address is unavailable. Port 0 means any free port. */
export function bindSharedPort({ host, port }: { host: string; port: number }): SharedPort {
  const handle = bind(host, port, host.includes(':') ? 6 : 4)
  const found: { port?: number } = {}
  const failed = typeof handle === 'number' ? handle : handle.getsockname(found)
  if (typeof handle === 'number' || failed !== 0)
    throw new DomainError(
      'configuration_invalid',
      `port ${port} on ${host} is unavailable for the API (system error ${failed})`,
    )
  return { port: found.port ?? port, handle, close: () => handle.close() }
}
