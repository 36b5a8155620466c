/**
 * One port for several API processes of a machine. The socket is bound here, by the process that outlives them, and handed
 * down to each as an open file; they listen on it side by side and the kernel gives every connection to one that is free.
 *
 * So no process stands between the callers and the replicas, and a connection that arrives while a replica is restarted
 * waits in the socket's own queue for another one. With SO_REUSEPORT, which Node offers from 23.1 on, each process would have
 * a queue of its own, and what waits in it would be lost with the process. Handing down open files works on Linux and macOS
 * alike.
 */
import * as net from 'node:net'
import { DomainError } from '../../domain/errors.ts'

/** A bound socket that nobody listens on here. */
export interface SharedPort {
  port: number
  /** To be handed to `spawn` as one of the child's open files. */
  handle: object
  close(): void
}

interface BoundHandle {
  getsockname(out: { port?: number }): number
  close(): void
}

/**
 * What `node:cluster` binds its shared sockets with. A server that is listened on would take the connections itself; Node
 * has no other way to bind without listening.
 */
const { _createServerHandle: bind } = net as unknown as {
  _createServerHandle(host: string, port: number, family: 4 | 6): BoundHandle | number
}

/** Throws `configuration_invalid` when the address cannot be had. Port 0 takes a free one. */
export function bindSharedPort({ host, port }: { host: string; port: number }): SharedPort {
  const handle = bind(host, port, host.includes(':') ? 6 : 4)
  const found: { port?: number } = {}
  const failed = typeof handle === 'number' ? handle : handle.getsockname(found)
  if (typeof handle === 'number' || failed !== 0)
    throw new DomainError(
      'configuration_invalid',
      `the API cannot have port ${port} on ${host} (system error ${failed})`,
    )
  return { port: found.port ?? port, handle, close: () => handle.close() }
}
