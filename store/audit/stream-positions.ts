/** Keeps how far the audit log has been sent to a topic. One process sends at a time, so that the order of the rows is that of the topic. */
import sql from 'sql-template-tag'
import type { Database, Store } from '../postgres.ts'

/**
 * Moves the position to what `send` returns, once it has sent everything up to there. Undefined while another process sends. A failed move leaves
 * the position, so that rows are sent again rather than lost.
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
