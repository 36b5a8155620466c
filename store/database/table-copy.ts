/**
 * Copies complete tables through COPY in both directions with backpressure, so that a table of any size passes through a buffer of a few
 * kilobytes.
 */
import { once } from 'node:events'
import type pg from 'pg'
import { startCopy, writeCopyData, type CopyConnection } from './copy-query.ts'

/** A connection that transfers nothing for this time is closed. */
const stallMs = 60_000

/** Runs COPY … TO STDOUT and passes the data on in chunks, in order. Returns the number of rows. */
export function copyOut(
  client: pg.Client,
  statement: string,
  take: (chunk: Buffer) => Promise<void>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let taken = Promise.resolve()
    let waiting = 0
    let failure: Error | undefined
    const stall = stallOf(client, reject)
    startCopy(client, statement, {
      handleCopyData({ chunk }, { stream }) {
        stall.moved()
        // The driver reuses its buffer after this turn.
        const mine = Buffer.from(chunk)
        waiting++
        if (waiting === maxPendingChunks) stream.pause()
        taken = taken
          .then(() => (failure === undefined ? take(mine) : undefined))
          .catch((error: Error) => void (failure ??= error))
          .then(() => {
            if (waiting-- === maxPendingChunks) stream.resume()
          })
      },
      handleError(error) {
        stall.end()
        reject(error)
      },
      finish(rows) {
        stall.end()
        void taken.then(() => (failure === undefined ? resolve(rows) : reject(failure)))
      },
    })
  })
}

/** The maximum number of chunks that wait for the slower side. */
const maxPendingChunks = 64

/**
 * Runs COPY … FROM STDIN with the given chunks. Returns the number of rows that Postgres stored. When the source fails, none are stored.
 */
export function copyFrom(
  client: pg.Client,
  statement: string,
  source: AsyncIterable<Buffer>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    let failure: Error | undefined
    const stall = stallOf(client, reject)
    const send = async (connection: CopyConnection): Promise<void> => {
      const { stream } = connection
      try {
        for await (const chunk of source) {
          if (failure !== undefined) return
          const isRoom = writeCopyData(stream, chunk)
          stall.moved()
          if (!isRoom) await once(stream, 'drain')
        }
        connection.endCopyFrom()
      } catch (error) {
        failure ??= error as Error
        connection.sendCopyFail(failure.message)
      }
    }
    startCopy(client, statement, {
      handleCopyInResponse: (connection) => void send(connection),
      handleError(error) {
        stall.end()
        reject(failure ?? error)
        failure ??= error
      },
      finish(rows) {
        stall.end()
        resolve(rows)
      },
    })
  })
}

function stallOf(client: pg.Client, reject: (error: Error) => void) {
  const connection = client as unknown as { connection: CopyConnection }
  const timer = setTimeout(() => {
    const error = new Error(`Postgres has neither given nor taken anything for ${stallMs / 1_000} s`)
    reject(error)
    connection.connection.stream.destroy(error)
  }, stallMs)
  return { moved: () => void timer.refresh(), end: () => clearTimeout(timer) }
}
