/**
 * Binds one port for several API processes and passes the socket to each, so that connections wait in a shared queue while a replica
 * restarts. With SO_REUSEPORT (Node 23.1), each process would have its own queue, which is lost with the process.
 */
import { existsSync, readdirSync } from 'node:fs'
import * as net from 'node:net'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'

/** A bound socket. This process does not listen on it. */
export interface SharedPort {
  port: number
  /** Passed to `spawn`, which gives it to the child as an open file. */
  handle: object
  close(): void
}

interface BoundHandle {
  getsockname(out: { address?: string; port?: number }): number
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

const receiveMs = 1_000

/**
 * Receives the port on which the replicas of a killed supervisor still listen, so that their successors accept from the same queue.
 * `directory` holds the sockets that offer the port. Returns undefined if no replica offers this address. Port 0 accepts any offered port.
 */
export async function receiveSharedPort(
  directory: string,
  { host, port }: { host: string; port: number },
): Promise<SharedPort | undefined> {
  for (const offer of existsSync(directory) ? readdirSync(directory) : []) {
    const handle = await receiveHandle(join(directory, offer))
    const found: { address?: string; port?: number } = {}
    handle?.getsockname(found)
    const isWanted = (port === 0 || port === found.port) && [found.address, 'localhost'].includes(host)
    if (handle !== undefined && found.port !== undefined && isWanted)
      return { port: found.port, handle, close: () => handle.close() }
    handle?.close()
  }
  return undefined
}

interface IpcPipe {
  pendingHandle?: BoundHandle | null
  onread?: () => void
  connect(request: object, path: string): number
  readStart(): void
  close(): void
}

/** Connects through the internal pipe of `child_process`, because Node passes sockets only between parent and child. */
function receiveHandle(path: string): Promise<BoundHandle | undefined> {
  const { binding } = process as unknown as { binding(name: string): unknown }
  const { Pipe, PipeConnectWrap, constants } = binding('pipe_wrap') as {
    Pipe: new (type: number) => IpcPipe
    PipeConnectWrap: new () => object
    constants: { IPC: number }
  }
  return new Promise((resolve) => {
    const pipe = new Pipe(constants.IPC)
    const end = (handle?: BoundHandle | null) => {
      clearTimeout(late)
      pipe.close()
      resolve(handle ?? undefined)
    }
    const late = setTimeout(end, receiveMs)
    pipe.onread = () => end(pipe.pendingHandle)
    const oncomplete = (status: number) => (status === 0 ? pipe.readStart() : end())
    if (pipe.connect(Object.assign(new PipeConnectWrap(), { oncomplete }), path) !== 0) end()
  })
}
