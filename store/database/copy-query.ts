/** Runs COPY through the driver, which passes any object with `submit` to the connection. */
import type { Socket } from 'node:net'
import type pg from 'pg'

export interface CopyConnection {
  query(text: string): void
  sendCopyFail(message: string): void
  endCopyFrom(): void
  stream: Socket
}

/** The calls of the driver while a COPY runs. */
interface CopyHandlers {
  handleCopyInResponse?(connection: CopyConnection): void
  handleCopyData?(message: { chunk: Buffer }, connection: CopyConnection): void
  handleError(error: Error): void
  /** The server is ready again and has copied this many rows. Not called after an error. */
  finish(rows: number): void
}

export function startCopy(
  client: pg.ClientBase,
  statement: string,
  { finish, ...handlers }: CopyHandlers,
): void {
  let rows = 0
  client.query({
    submit: (connection: unknown) => (connection as CopyConnection).query(statement),
    handleCommandComplete({ text }: { text: string }) {
      if (text.startsWith('COPY ')) rows = Number(text.slice(5))
    },
    handleReadyForQuery: () => finish(rows),
    ...handlers,
  })
}

/**
 * A CopyData message: 'd', the length including itself, and the bytes. Sent without a copy; the driver's own writer copies each message
 * twice.
 */
export function writeCopyData(stream: Socket, bytes: Uint8Array): boolean {
  const head = Buffer.allocUnsafe(5)
  head[0] = 0x64
  head.writeUInt32BE(bytes.byteLength + 4, 1)
  stream.write(head)
  return stream.write(bytes)
}
