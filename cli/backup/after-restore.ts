/**
 * Completes the restore of a database to an earlier time: raises the epoch, closes interrupted work, writes an audit row and
 * archives newer audit heads.
 */
import { appendAudit, listAudit, verifyAudit } from '../../store/audit/audit-log.ts'
import { openRowVerifier, rowSigner } from '../../store/audit/row-signatures.ts'
import { headFiles, readHeads } from '../../store/audit/signed-heads.ts'
import { renumberPredictions } from '../../store/integrations/outbox.ts'
import {
  endInterruptedWork,
  hasEpoch,
  raiseEpoch,
  renewKillSwitches,
} from '../../store/maintenance/routing-epoch.ts'
import { archiveHeads, type ArchivedHeads } from '../../store/maintenance/archive-audit-heads.ts'
import { endWorkers } from '../../store/maintenance/worker-heartbeats.ts'
import { findGivenNumbers, type GivenNumbers } from '../../store/registry/versions.ts'
import { openStore, type Database, type Store } from '../../store/postgres.ts'
import { resignArtifacts } from '../../store/signing/artifact-signatures.ts'
import { openCommonSigner, openPublicKeys } from '../../store/signing/signing-key.ts'
import { failure } from '../client/client.ts'
import type { Installation } from './installation.ts'

export interface RestoredState {
  epoch: number
  /** The route of each model now. */
  routes: { model: string; version: string; generation: number }[]
  /** Interrupted work that was closed, counted by kind. */
  ended: Record<string, number>
}

/** How many version numbers to skip when the number of versions registered after the backup is unknown. */
const skippedNumbers = 100

export async function completeRestore(
  database: Database,
  entry: {
    actor: string
    action: string
    why: string
    detail: Record<string, unknown>
    /** The version numbers given in the replaced database, if it had versions. */
    given?: GivenNumbers
  },
): Promise<RestoredState> {
  const { actor, action, why, detail, given } = entry
  const skipped = Object.entries(await findGivenNumbers(database)).map(
    ([model, { major, minor }]) => [model, { major, minor: minor + skippedNumbers, patch: 0 }] as const,
  )
  const numbers = { ...Object.fromEntries(skipped), ...given }
  const { epoch, routes } = await raiseEpoch(database, why)
  const ended = await endInterruptedWork(database, why)
  await renewKillSwitches(database, epoch)
  await renumberPredictions(database)
  await endWorkers(database)
  const current = routes.map(({ model, generation, arms }) => ({
    model,
    version: arms[0]?.version ?? '',
    generation,
  }))
  await appendAudit(database, {
    actor,
    action,
    subject: 'database',
    detail: { ...detail, epoch, routes: current, ended, numbers },
  })
  return { epoch, routes: current, ended }
}

/**
 * Handles an error of the commit, after which Postgres may have committed without a response. Restores the archived audit heads unless
 * Postgres committed, and returns whether it did. Throws while Postgres is unreachable and leaves the heads archived: heads that name other
 * rows would make a second attempt fail.
 */
export async function undoUnlessCommitted(
  store: Store,
  { settled, aside }: { settled: RestoredState | undefined; aside: ArchivedHeads | undefined },
): Promise<boolean> {
  const isDone = settled !== undefined && (await hasEpoch(store, settled.epoch))
  if (!isDone) await aside?.undo()
  return isDone
}

/** Time limit for verifying the whole audit log. */
const queryMs = 60_000

export async function completePointInTimeRestore(
  { config, databaseUrl }: Pick<Installation, 'config' | 'databaseUrl'>,
  actor: string,
): Promise<RestoredState & { set_aside: string[] }> {
  const signer = await openCommonSigner(config.signing, 'artifacts')
  const signAudit = rowSigner(signer)
  const store = openStore(databaseUrl, {
    name: 'tenure restore',
    max: 2,
    queryMs,
    idleMs: queryMs,
    signAudit,
  })
  const files = headFiles(config)
  try {
    const { heads } = await readHeads(files, openPublicKeys(config.signing, 'heads')).read()
    const [newest] = await listAudit(store, { limit: 1 })
    const lastSeq = newest?.seq ?? 0
    const { breach } = await verifyAudit(store, {
      heads: heads.filter(({ seq }) => seq <= lastSeq),
      isSigned: openRowVerifier(config.signing),
    })
    if (breach !== undefined)
      throw failure({
        code: 'otherwise',
        detail: `the audit log of this database does not belong to this installation: ${breach}`,
        remedy: 'Nothing was changed. Compare the database with a backup before using it.',
      })
    const why = 'the database was restored to an earlier time'
    const detail = { from: lastSeq }
    let aside: ArchivedHeads | undefined
    let settled: RestoredState | undefined
    try {
      await store.transaction(async (database) => {
        // The signing key may have been rotated since those versions were signed.
        await resignArtifacts(database, signer, {
          keys: openPublicKeys(config.signing, 'artifacts'),
          signedMs: newest && Date.parse(newest.at),
        })
        settled = await completeRestore(database, { actor, action: 'database.restored', why, detail })
        aside = await archiveHeads(files, { lastSeq, stamp: `epoch-${settled.epoch}` })
      })
    } catch (error) {
      if (!(await undoUnlessCommitted(store, { settled, aside }))) throw error
    }
    return { ...settled!, set_aside: aside?.files ?? [] }
  } finally {
    await store.close()
  }
}
