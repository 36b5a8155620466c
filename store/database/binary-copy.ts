/** Sends pre-encoded rows through COPY … FROM STDIN. An insert of the same rows takes ten times as long on both sides. */
import type pg from 'pg'
import { startCopy, writeCopyData } from './copy-query.ts'
import type { Store } from '../postgres.ts'

/** The time limit for using a borrowed connection. */
const copyMs = 2_000

const signature = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)])
const trailer = Buffer.from([0xff, 0xff])

/**
 * Sends whole tuples in binary format, all or none. Returns the number of rows that Postgres stored. The bytes must not change until
 * then. Further statements after the COPY, separated by a semicolon, run in its transaction.
 */
export function copyIn(
  client: pg.ClientBase,
  statement: string,
  tuples: readonly Uint8Array[],
): Promise<number> {
  return new Promise((resolve, reject) => {
    startCopy(client, statement, {
      handleCopyInResponse(connection) {
        const { stream } = connection
        stream.cork()
        for (const part of [signature, ...tuples, trailer]) writeCopyData(stream, part)
        connection.endCopyFrom()
        stream.uncork()
      },
      // After this the driver makes no more calls, and holds further statements back until the server is ready.
      handleError: reject,
      finish: resolve,
    })
  })
}

/** Splits an encoded block into tuples, to find the one that Postgres rejects. */
export function splitTuples(block: Uint8Array): Uint8Array[] {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const tuples: Uint8Array[] = []
  let start = 0
  while (start < block.byteLength) {
    let at = start + 2
    for (let field = view.getInt16(start); field > 0; field--) {
      const length = view.getInt32(at)
      at += 4 + Math.max(length, 0)
    }
    tuples.push(block.subarray(start, at))
    start = at
  }
  return tuples
}

/** Lends one connection, with a time limit. After a failure the connection is not used again. */
export async function withClient<T>(store: Store, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await store.pool.connect().catch((error: unknown) => {
    store.saw(error)
    throw error
  })
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${copyMs} ms`)), copyMs)
  })
  let failure: Error | undefined
  try {
    return await Promise.race([work(client), late])
  } catch (error) {
    failure = error as Error
    store.saw(error)
    throw error
  } finally {
    clearTimeout(timer)
    client.release(failure)
  }
}
