/** For a database that was put back to an earlier moment by other means: what `tenure restore` does behind the rows. */
import { findLinks, verifyAudit } from '../../store/audit.ts'
import { headFiles, openHeads } from '../../store/audit-heads.ts'
import { setHeadsAside, type SetAside } from '../../store/heads-aside.ts'
import { openStore } from '../../store/postgres.ts'
import { openSigner } from '../../store/signature.ts'
import { failure } from '../client.ts'
import type { Place } from './place.ts'
import { settle, type Settled } from './put-back.ts'

/** How long following a whole audit may take. */
const queryMs = 60_000

export async function settleAsIs(
  { config, databaseUrl }: Pick<Place, 'config' | 'databaseUrl'>,
  actor: string,
): Promise<Settled & { set_aside: string[] }> {
  const store = openStore(databaseUrl, { name: 'tenure restore', max: 2, queryMs, idleMs: queryMs })
  const files = headFiles(config)
  try {
    const { heads } = await openHeads(files, await openSigner(config.signingKey)).read()
    const lastSeq = (await findLinks(store, 0)).newest?.seq ?? 0
    const { breach } = await verifyAudit(store, { heads: heads.filter(({ seq }) => seq <= lastSeq) })
    if (breach !== undefined)
      throw failure({
        code: 'otherwise',
        detail: `the audit of this database is not the one of this installation: ${breach}`,
        remedy: 'Nothing was changed. Compare it with a backup before it is used.',
      })
    const why = 'the database was put back to an earlier moment'
    const detail = { from: lastSeq }
    let aside: SetAside | undefined
    try {
      return await store.transaction(async (database) => {
        const settled = await settle(database, { actor, action: 'database.restored', why, detail })
        aside = await setHeadsAside(files, { lastSeq, stamp: `epoch-${settled.epoch}` })
        return { ...settled, set_aside: aside.files }
      })
    } catch (error) {
      await aside?.undo()
      throw error
    }
  } finally {
    await store.close()
  }
}
