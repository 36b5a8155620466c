/** Closes the connections of a stopping replica without failing a request. */
import type { Server } from 'node:http'
import { type FastPath, stopListening } from '@tenure/http-front'
import type { SharedListener } from './transport/shared-port.ts'

/** How long idle connections stay open for `connection: close`. */
const idleCloseMs = 300
/** Time limit of a drain, in milliseconds. */
export const drainMs = 3_000

/**
 * Accepts no new connections, and closes open ones with their next response. Closes idle ones later, because a request may already be on
 * its way.
 */
export function drain(
  server: Server,
  fastPath: FastPath | undefined,
  shared: SharedListener | undefined,
): Promise<void> {
  return new Promise((resolve) => {
    const quiet = setTimeout(() => {
      fastPath?.closeIdle()
      server.closeIdleConnections()
    }, idleCloseMs)
    const late = setTimeout(() => {
      fastPath?.closeAll()
      server.closeAllConnections()
    }, drainMs)
    // Connections of the shared port belong to the server, but only the port knows when the last one is closed.
    void Promise.all([stopListening(server), shared?.leave()]).then(() => {
      clearTimeout(quiet)
      clearTimeout(late)
      resolve()
    })
  })
}
