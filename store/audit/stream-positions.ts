/** Stores how far the audit log has been sent to a topic. One process sends at a time, so that the topic has the order of the rows. */
import sql from 'sql-template-tag'
import type { Database, Store } from '../postgres.ts'

/**
 * Advances the position to the one that `send` returns after sending all rows up to it. Undefined while another process sends. A failure
 * keeps the position, so rows are sent again rather than lost.
 */
export function moveStreamPosition(
  store: Store,
  name: string,
  send: (database: Database, seq: number) => Promise<number>,
): Promise<number | undefined> {
  return store.transaction(async (database) => {
    await database.query(
      sql`insert into stream_positions (name, seq) values (${name}, 0) on conflict do nothing`,
    )
    const [held] = await database.query<{ seq: number }>(
      sql`select seq from stream_positions where name = ${name} for update skip locked`,
    )
    if (held === undefined) return undefined
    const seq = await send(database, held.seq)
    if (seq > held.seq)
      await database.query(sql`update stream_positions set seq = ${seq} where name = ${name}`)
    return seq
  })
}
